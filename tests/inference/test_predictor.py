"""The predictor: strips equal the whole, scales and flips are averaged as the paper says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from refineseg.errors import InputError, WeightsError
from refineseg.inference.devices import pick_device
from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.tiling import BUDGET
from refineseg.labels import LabelMap
from refineseg.loading import load
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard, save_model_folder
from tests.model.filled import fill

LABELS = LabelMap.from_names(["a", "b", "c", "d", "e"])


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    model = create_model("refinenet-lw-mbv2", 5, width=16, coarse_width=16)
    fill(model)
    return Segmenter.from_network(model, ModelCard("test", LABELS), device="cpu")


def photograph(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (7, 9, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def literal_scores(segmenter: Segmenter, image: Tensor, scales: list[float]) -> Tensor:
    """REFERENCE of the authors' evaluation, step by step, for one picture 1x3xHxW in [0, 1]."""
    total = torch.zeros(())
    for scale in scales:
        size = [max(1, round(side * scale)) for side in image.shape[-2:]]
        seen = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=scale < 1)
        probability = segmenter.model(seen, upsample=False).softmax(1)
        log = probability.log().clamp(min=-20)
        total = total + F.interpolate(log, image.shape[-2:], mode="bilinear", align_corners=False).exp()
    return total / len(scales)


@pytest.mark.parametrize("tile", [None, 64])
def test_a_batch_is_its_pictures_one_by_one(segmenter: Segmenter, tile: int | None) -> None:
    pictures = [np.roll(photograph(70, 100), 17 * index, axis=1) for index in range(3)]
    scales = (1.0,)
    options = PredictOptions(scales=scales, flip=True, probabilities=True)
    windows: list[int] = []
    segmenter.runner.__dict__["overlap"] = 32  # the measured one is wider than these pictures
    together = segmenter.predict_batch(pictures, options, tile, lambda: windows.append(1))
    # A window takes up to 31 pixels more than its side: 70 rows are one of 64, 100 columns are two.
    assert len(windows) == len(pictures) * (1 if tile is None else 2)
    for picture, result in zip(pictures, together, strict=True):
        assert np.array_equal(result.image, picture)
        alone = segmenter.predict(picture, scales=scales, flip=True, probabilities=True, tile=tile)
        assert result.probabilities is not None
        assert alone.probabilities is not None
        np.testing.assert_allclose(result.probabilities, alone.probabilities, atol=2e-3)
        assert (result.labels == alone.labels).mean() > 0.999
    del segmenter.runner.__dict__["overlap"]


def test_what_each_raises_ends_the_work(segmenter: Segmenter) -> None:
    def stop() -> None:
        raise TimeoutError

    tiles: tuple[Tile, ...] = (None, "auto", 4096)
    for tile in tiles:
        with pytest.raises(TimeoutError):
            segmenter.predict_batch([photograph(40, 40)], PredictOptions(), tile, stop)


def test_batches_have_one_size_and_fit_in_memory(segmenter: Segmenter) -> None:
    with pytest.raises(InputError, match=r"one size, got \[\(8, 9\), \(9, 8\)\]"):
        segmenter.predict_batch([photograph(9, 8), photograph(8, 9)], PredictOptions())
    assert segmenter.memory.at_once((10_000, 10_000), PredictOptions()) == 1
    few, many = (segmenter.memory.at_once((480, 640), PredictOptions((scale,))) for scale in (2.0, 1.0))
    assert many // 4 - 1 <= few <= many // 4 + 1
    assert many == int(BUDGET / (480 * 640 * segmenter.runner.bytes_per_pixel))


@pytest.mark.parametrize("size", [(1, 1), (33, 47), (130, 75)])
def test_labels_are_the_largest_upsampled_logits(segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = photograph(*size)
    result = segmenter.predict(image)
    with torch.no_grad():
        logits = segmenter.model(torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255)
    assert result.labels.shape == size
    assert result.labels.dtype == np.uint8
    best = logits[0].argmax(0).numpy()
    top2 = logits[0].topk(2, 0).values
    clear = ((top2[0] - top2[1]) > 1e-4 * logits.abs().max()).numpy()
    assert (result.labels == best)[clear].all()
    assert clear.mean() > 0.98


@torch.no_grad()
def test_scales_are_averaged_as_the_authors_do(segmenter: Segmenter) -> None:
    image = photograph(50, 70)
    scales = [0.6, 1.0, 1.2]
    expected = literal_scores(segmenter, torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255, scales)[0]
    result = segmenter.predict(image, scales=scales, probabilities=True)
    assert result.probabilities is not None
    normal = (expected / expected.sum(0)).numpy()
    assert np.abs(result.probabilities.astype(np.float32) - normal).max() < 2e-3
    top2 = expected.topk(2, 0).values
    clear = ((top2[0] - top2[1]) > 1e-4).numpy()
    assert (segmenter.predict(image, scales=scales).labels == expected.argmax(0).numpy())[clear].all()


def test_probabilities_sum_to_one_and_agree_with_labels(segmenter: Segmenter) -> None:
    for flip in (False, True):
        result = segmenter.predict(photograph(40, 30), probabilities=True, flip=flip)
        assert result.probabilities is not None
        assert result.probabilities.shape == (5, 40, 30)
        assert np.abs(result.probabilities.sum(0, dtype=np.float32) - 1).max() < 5e-3
        assert (result.probabilities.argmax(0) == result.labels).mean() > 0.98


def test_flip_makes_mirrored_pictures_agree(segmenter: Segmenter) -> None:
    image = photograph(64, 64)
    one = segmenter.predict(image, flip=True).labels
    other = segmenter.predict(np.ascontiguousarray(image[:, ::-1]), flip=True).labels
    assert (one == other[:, ::-1]).mean() > 0.999
    plain = segmenter.predict(image).labels
    mirrored = segmenter.predict(np.ascontiguousarray(image[:, ::-1])).labels
    assert (plain == mirrored[:, ::-1]).mean() < 0.999  # without it they differ: the test can fail


def test_bf16_is_close(segmenter: Segmenter) -> None:
    lower = Segmenter.from_network(segmenter.model, segmenter.card, "cpu", precision="bf16")
    image = photograph(64, 96)
    assert (lower.predict(image).labels == segmenter.predict(image).labels).mean() > 0.9


def test_load_by_folder_and_unknown_name(segmenter: Segmenter, tmp_path: Path) -> None:
    save_model_folder(tmp_path / "m", segmenter.model, segmenter.card)
    loaded = load(tmp_path / "m", device="cpu")
    image = photograph(20, 30)
    assert np.array_equal(loaded.predict(image).labels, segmenter.predict(image).labels)
    with pytest.raises(WeightsError, match="unknown model 'nothing'"):
        load("nothing")


def test_bad_options(segmenter: Segmenter) -> None:
    for scales in ((), (0.0,), (-1.0,), (99.0,)):
        with pytest.raises(InputError, match="expected scales"):
            segmenter.predict(photograph(8, 8), scales=scales)
    for given in (0.5, "0.5", "12", None, ["big"]):
        with pytest.raises(InputError, match=rf"expected a list of scales .*, got {re.escape(repr(given))}"):
            segmenter.predict(photograph(8, 8), scales=given)  # type: ignore[arg-type]
    for wrong in (3, "3", [1.5]):
        with pytest.raises(InputError, match=rf"expected a list of channels .*, got {re.escape(repr(wrong))}"):
            segmenter.predict(photograph(8, 8), channels=wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="precision 32 or bf16"):
        Segmenter.from_network(segmenter.model, segmenter.card, "cpu", precision="int3")
    with pytest.raises(InputError, match="expected a device"):
        pick_device("toaster")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="this machine has none"):
            pick_device("cuda")
