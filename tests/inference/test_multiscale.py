"""Fusion of several views against a literal reference of the authors' evaluation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.labels import LabelClass, LabelMap
from tests.evaluation.pictures import label_map, make_segmenter

LABELS = label_map(5)
PAPER = (0.4, 0.6, 0.8, 1.0, 1.2)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return make_segmenter(LABELS, sharpness=60.0)  # far from flat, so that the floor of -20 is met too


def reference(segmenter: Segmenter, image: np.ndarray, scales: tuple[float, ...]) -> tuple[Tensor, int]:
    """Average scores KxHxW: softmax at stride 4, log, floor -20, bilinear to the picture, exp, mean; no flip."""
    height, width = image.shape[:2]
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    total, floored = torch.zeros(1, 5, height, width), 0
    for scale in scales:
        size = (round(height * scale), round(width * scale))
        seen = F.interpolate(pixels, size, mode="bilinear", antialias=scale < 1) if scale != 1 else pixels
        with torch.no_grad():
            low = torch.softmax(segmenter.model(seen, upsample=False), 1)
        log = torch.log(low)
        floored += int((log < -20).sum())
        log = torch.maximum(log, torch.tensor(-20.0))
        total += torch.exp(F.interpolate(log, (height, width), mode="bilinear", align_corners=False))
    return total[0] / len(scales), floored


@pytest.mark.parametrize("size", [(64, 96), (75, 61), (130, 50)])
def test_several_scales_equal_the_reference(segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected, floored = reference(segmenter, image, PAPER)
    assert floored > 0
    result = segmenter.predict(image, scales=PAPER, probabilities=True)
    assert result.probabilities is not None
    normal = expected / expected.sum(0, keepdim=True)
    np.testing.assert_allclose(result.probabilities, normal.numpy(), atol=1e-3)  # float16
    labels = segmenter.predict(image, scales=PAPER).labels
    # In strips and without probabilities the labels are the same, but for ties within rounding.
    first, second = expected.topk(2, 0).values
    clear = ((first - second) > 1e-5).numpy()
    assert clear.mean() > 0.99
    assert (labels == expected.argmax(0).numpy())[clear].all()
    assert len(np.unique(labels)) > 1


def test_one_view_has_the_labels_of_the_reference(segmenter: Segmenter) -> None:
    image = np.random.default_rng(2).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    expected, _ = reference(segmenter, image, (1.0,))
    agree = segmenter.predict(image).labels == expected.argmax(0).numpy()
    # The floor can only matter where the two best classes are at it in one of the four neighbours.
    assert agree.mean() > 0.999


def paired() -> LabelMap:
    names = ["ground", "left", "right"]
    mirror = {"left": "right", "right": "left"}
    colors = [(0, 0, 0), (255, 0, 0), (0, 0, 255)]
    return LabelMap(
        tuple(LabelClass(name, colors[i], (i,), mirror=mirror.get(name)) for i, name in enumerate(names))
    )


def test_flip_swaps_paired_classes() -> None:
    # A network that knows no left and right but colour: red is "left". In the mirrored picture, red is seen as
    # "left" again, which there is the right one: so the flipped view must speak for "right".
    segmenter = make_segmenter(paired())
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, :32, 0] = 255
    scoring = segmenter._scoring
    view = scoring._logits(scoring.array_ops.unit(image[None]), 1.0, True).argmax(1)[0]
    assert (view[:, :7] == 2).all()  # at its own place, as the other side's class
    assert (view[:, 9:] == 0).all()
    _, scores = segmenter.segment(image[None], PredictOptions(flip=True, probabilities=True))
    assert scores is not None
    np.testing.assert_allclose(scores[0, 1, :, :24], scores[0, 2, :, :24], atol=1e-3)  # both views weigh the same


def test_flip_of_a_mirrored_picture_is_the_mirrored_result() -> None:
    segmenter = make_segmenter(paired())
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    here = segmenter.predict(image, flip=True, probabilities=True).probabilities
    there = segmenter.predict(image[:, ::-1].copy(), flip=True, probabilities=True).probabilities
    assert here is not None
    assert there is not None
    np.testing.assert_allclose(here, there[[0, 2, 1], :, ::-1], atol=2e-3)
