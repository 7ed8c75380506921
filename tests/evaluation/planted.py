"""A data set with planted label errors, and hard objects on which the model is wrong without being sure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from refineseg.data.dataset import Sample, SegmentationData
from refineseg.labels import LabelMap, UInt8

SIZE = (96, 128)
CELLS = [(row, column) for row in range(3) for column in range(4)]  # of 32 pixels, an object in each


@dataclass(frozen=True)
class Planted:
    """One object whose label was changed: picture, and its top, left, bottom, right."""

    picture: int
    box: tuple[int, int, int, int]


def make_planted(
    root: Path, labels: LabelMap, pictures: int, per_picture: int
) -> tuple[SegmentationData, list[Planted]]:
    """Objects of all classes on a ground of class 0, one in each cell of a picture.

    In each picture ``per_picture`` objects have another label than their colour says. As many others are hard:
    their colour lies between their class's and another's, nearer to the other, so that the model is wrong but not
    sure. All masks are a pixel too wide, as hand-drawn ones are, which makes sure slivers along the outlines.
    """
    (root / "masks").mkdir(parents=True)
    samples, planted = [], []
    for index in range(pictures):
        draw = np.random.default_rng(index)
        truth, colors = np.zeros(SIZE, np.uint8), np.tile(labels.palette[0], (*SIZE, 1)).astype(np.float64)
        order = draw.permutation(len(CELLS))
        for rank, cell in enumerate(order):
            height, width = draw.integers(10, 25, 2)
            top = CELLS[cell][0] * 32 + int(draw.integers(2, 30 - height))
            left = CELLS[cell][1] * 32 + int(draw.integers(2, 30 - width))
            bottom, right = top + int(height), left + int(width)
            real, other = draw.choice(np.arange(1, labels.num_classes), 2, replace=False)
            color = labels.palette[real].astype(np.float64)
            if per_picture <= rank < 2 * per_picture:
                color = 0.46 * color + 0.54 * labels.palette[other]
            colors[top:bottom, left:right] = color
            truth[top - 1 : bottom + 1, left - 1 : right + 1] = other if rank < per_picture else real
            if rank < per_picture:
                planted.append(Planted(index, (top, left, bottom, right)))
        save(root, f"p{index:02}", colors + draw.normal(0, 12, (*SIZE, 3)), labels.decode(truth))
        samples.append(Sample(f"p{index:02}", root / f"p{index:02}.png", root / "masks" / f"p{index:02}.png"))
    return SegmentationData("planted", root, labels, {"val": tuple(samples)}), planted


def save(root: Path, stem: str, picture: np.ndarray[tuple[int, ...], np.dtype[np.float64]], raw: UInt8) -> None:
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(root / f"{stem}.png", compress_level=1)
    Image.fromarray(raw).save(root / "masks" / f"{stem}.png", compress_level=1)


def overlap(first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """Intersection over union of two boxes."""
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    both = max(0, height) * max(0, width)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return both / (sum(areas) - both)
