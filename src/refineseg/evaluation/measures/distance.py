"""Accuracy by distance from the nearest true outline: are errors at edges or inside?

A pixel is within d of an outline if the (2d+1)x(2d+1) square around it contains another class, as for the trimap;
void does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refineseg.evaluation.measures.boundary import TRIMAP, near_outline
from refineseg.evaluation.metrics import Counts, Floats, by_name, divide, nan_to_none
from refineseg.labels import IGNORE, UInt8

WITHIN = (1, 2, TRIMAP, 10, 20, 40)  # pixels; the last ring is everything farther
BOUNDARY_RINGS = WITHIN.index(TRIMAP) + 1


@dataclass
class DistanceCounts:
    """Pixels and right pixels by ring (nearest first) and true class, 2xRxK; a measure for ``evaluate``."""

    counts: Counts

    @classmethod
    def zeros(cls, num_classes: int) -> DistanceCounts:
        """Zero counts."""
        return cls(np.zeros((2, len(WITHIN) + 1, num_classes), np.int64))

    def add(self, truth: UInt8, prediction: UInt8, probabilities: Any = None) -> None:  # noqa: ARG002
        """Add a picture: train ids HxW."""
        _, rings, classes = self.counts.shape
        ring = np.full(truth.shape, len(WITHIN), np.uint8)
        for distance in WITHIN:
            ring -= near_outline(truth, distance, frame=False)
        valid = truth != IGNORE
        place = ring[valid].astype(np.int64) * classes + truth[valid]
        right = prediction[valid] == truth[valid]
        for index, chosen in enumerate((place, place[right])):
            self.counts[index] += np.bincount(chosen, minlength=rings * classes).reshape(rings, classes)

    def merge(self, other: DistanceCounts) -> None:
        """Add the counts of another."""
        self.counts += other.counts

    @property
    def accuracy(self) -> Floats:
        """By ring, over all classes; NaN if empty."""
        return _share(self.counts.sum(2))

    @property
    def boundary(self) -> Floats:
        """By class, within TRIMAP pixels of an outline."""
        return _share(self.counts[:, :BOUNDARY_RINGS].sum(1))

    @property
    def interior(self) -> Floats:
        """By class, farther inside."""
        return _share(self.counts[:, BOUNDARY_RINGS:].sum(1))

    @property
    def overall(self) -> tuple[float, float]:
        """Accuracy near outlines, and farther inside."""
        near, far = self.counts[:, :BOUNDARY_RINGS].sum((1, 2)), self.counts[:, BOUNDARY_RINGS:].sum((1, 2))
        return float(_share(near)), float(_share(far))

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Accuracy at the boundary and inside: overall, by class and by ring."""
        near, far = self.overall
        return {
            "boundary_accuracy": nan_to_none(near),
            "interior_accuracy": nan_to_none(far),
            "boundary": by_name(names, self.boundary),
            "interior": by_name(names, self.interior),
            "within": list(WITHIN),
            "accuracy": [nan_to_none(value) for value in self.accuracy],
            "pixels": self.counts[0].sum(1).tolist(),
        }


def _share(counts: Counts) -> Floats:
    pixels, right = counts.astype(np.float64)
    return divide(right, pixels)
