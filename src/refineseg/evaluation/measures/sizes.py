"""IoU by object size.

An object is an 8-connected component of one class in the ground truth: small below 32x32 pixels, medium below
96x96, else large (COCO's bounds). False positives of a predicted component count for the size of which it covers
most true pixels, or for its own size if it covers none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import extra
from refineseg.evaluation.metrics import Counts, Floats, by_name, divide
from refineseg.labels import IGNORE, UInt8

SIZES = ("small", "medium", "large")
BOUNDS = (32 * 32, 96 * 96)


@dataclass
class SizeCounts:
    """Hit, true and false pixels (3x3xK), and objects (3xK), by size and class; a measure for ``evaluate``."""

    counts: Counts
    objects: Counts

    @classmethod
    def zeros(cls, num_classes: int) -> SizeCounts:
        """Zero counts."""
        components(np.zeros((1, 1), np.bool_))  # fails now if scipy is missing
        return cls(np.zeros((3, len(SIZES), num_classes), np.int64), np.zeros((len(SIZES), num_classes), np.int64))

    def add(self, truth: UInt8, prediction: UInt8, probabilities: Any = None) -> None:  # noqa: ARG002
        """Add a picture: train ids HxW."""
        valid = truth != IGNORE
        for index in range(self.counts.shape[2]):
            true, predicted = truth == index, (prediction == index) & valid
            if not true.any() and not predicted.any():
                continue
            places, areas = components(true)
            size_of = np.append(-1, np.digitize(areas[1:], BOUNDS))  # component 0 is the rest
            size = size_of[places]
            self.objects[:, index] += np.bincount(size_of[1:], minlength=len(SIZES))
            self.counts[0, :, index] += np.bincount(size[true & predicted], minlength=len(SIZES))
            self.counts[1, :, index] += np.bincount(size[true], minlength=len(SIZES))
            self.counts[2, :, index] += false_pixels(predicted, size)

    def merge(self, other: SizeCounts) -> None:
        """Add the counts of another."""
        self.counts += other.counts
        self.objects += other.objects

    @property
    def iou(self) -> Floats:
        """3xK IoU; NaN if the ground truth has no object of the size."""
        hit, true, false = self.counts.astype(np.float64)
        return np.where(true > 0, divide(hit, true + false), np.nan)

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Means over the classes with objects of the size, figures by class, numbers of objects."""
        known = ~np.isnan(self.iou)
        mean = divide(np.nan_to_num(self.iou).sum(1), known.sum(1).astype(np.float64))
        return {
            "mean_iou": by_name(SIZES, mean),
            "iou": {size: by_name(names, row) for size, row in zip(SIZES, self.iou, strict=True)},
            "objects": dict(zip(SIZES, self.objects.sum(1).tolist(), strict=True)),
            "bounds": list(BOUNDS),
        }


def false_pixels(predicted: NDArray[np.bool_], size: NDArray[np.int64]) -> Counts:
    """Predicted pixels outside the class's objects (``size`` -1), by the size that they count for."""
    places, areas = components(predicted)
    count = len(areas)
    covered = np.bincount(places.ravel() * 4 + size.ravel() + 1, minlength=4 * count).reshape(count, 4)
    own = np.digitize(areas, BOUNDS)
    against = np.where(covered[:, 1:].any(1), covered[:, 1:].argmax(1), own)
    return np.bincount(against[1:], covered[1:, 0], len(SIZES)).astype(np.int64)


def components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Counts]:
    """Labels HxW of the connected components (0 outside), and areas by label."""
    with extra("scipy", "data", "IoU by object size and label suspects"):
        from scipy.ndimage import label
    places, _count = label(mask, np.ones((3, 3)))
    return places.astype(np.int64), np.bincount(places.ravel())
