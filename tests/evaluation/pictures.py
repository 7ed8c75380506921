"""A small data set of coloured shapes on disk, and a network that tells classes by colour."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.colors import voc_palette
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE, LabelClass, LabelMap
from refineseg.model.folders.model_folder import ModelCard
from refineseg.model.refinenet import RefineNet


def label_map(num_classes: int, first: int = 0, submission: tuple[int, ...] | None = None) -> LabelMap:
    colors = voc_palette(num_classes + 1)[1:]
    return LabelMap(
        tuple(
            LabelClass(f"class{index}", colors[index], (index + first,), submission[index] if submission else None)
            for index in range(num_classes)
        )
    )


def make_data(
    root: Path,
    stems: list[str],
    labels: LabelMap,
    size: tuple[int, int] = (32, 48),
    noise: int = 60,
    split: str = "val",
) -> SegmentationData:
    """Pictures (height, width) of rectangles in their classes' colours with noise, a strip of void in the mask."""
    samples = []
    for index, stem in enumerate(stems):
        draw = np.random.default_rng(index)
        height, width = size
        truth = np.full(size, draw.integers(labels.num_classes), np.uint8)
        for _ in range(6):
            top, left = draw.integers(0, height - 4), draw.integers(0, width - 4)
            high, wide = draw.integers(4, height // 2), draw.integers(4, width // 2)
            truth[top : top + high, left : left + wide] = draw.integers(labels.num_classes)
        picture = labels.colorize(truth).astype(np.int64) + draw.integers(-noise, noise + 1, (*size, 3))
        image, mask = root / f"{stem}.png", root / "masks" / f"{stem}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(image, compress_level=1)
        truth[:, :2] = IGNORE
        Image.fromarray(np.asarray(labels.decode(truth), np.uint8)).save(mask, compress_level=1)
        samples.append(Sample(stem, image, mask))
    return SegmentationData("shapes", root, labels, {split: tuple(samples)})


class ColorNet(nn.Module):
    """Logits at stride 4: minus the distance of the mean colour to each class's."""

    def __init__(self, labels: LabelMap, sharpness: float = 20.0) -> None:
        super().__init__()
        colors = torch.tensor([item.color for item in labels.classes], dtype=torch.float32) / 255
        self.register_buffer("colors", colors)
        self.sharpness = sharpness
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        self.sizes.append(tuple(images.shape[-2:]))
        low = F.avg_pool2d(images, 4, ceil_mode=True)
        colors = cast(Tensor, self.colors)
        distance = (low[:, None] - colors[None, :, :, None, None]).square().sum(2)
        logits = -self.sharpness * distance
        return F.interpolate(logits, images.shape[-2:], mode="bilinear") if upsample else logits


def make_segmenter(labels: LabelMap, sharpness: float = 20.0, **info: object) -> Segmenter:
    described = ModelCard("colours", labels, **info)  # type: ignore[arg-type]
    return Segmenter.from_network(cast(RefineNet, ColorNet(labels, sharpness)), described, "cpu")
