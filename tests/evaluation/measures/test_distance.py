"""Accuracy by distance from the outlines, by hand and against a slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from refineseg.evaluation.measures.distance import WITHIN, DistanceCounts
from refineseg.labels import IGNORE, UInt8


def slow_rings(truth: UInt8) -> dict[tuple[int, int], int]:
    """Ring of each valid pixel: Chebyshev distance to the next pixel of another class."""
    rings = {}
    height, width = truth.shape
    for row, column in np.ndindex(height, width):
        if truth[row, column] == IGNORE:
            continue
        others = np.argwhere((truth != truth[row, column]) & (truth != IGNORE))
        far = np.abs(others - [row, column]).max(1).min() if len(others) else 10**6
        rings[row, column] = sum(far > limit for limit in WITHIN)
    return rings


def test_by_hand() -> None:
    truth = np.zeros((4, 100), np.uint8)
    truth[:, 50:] = 1
    prediction = truth.copy()
    prediction[:, 48:50] = 1  # columns 1 and 2 from the outline of class 0 are wrong
    counts = DistanceCounts.zeros(2)
    counts.add(truth, prediction)
    # Rings 1, 2, 3-5, 6-10, 11-20, 21-40, >40; both sides of the outline.
    assert counts.counts[0].sum(1).tolist() == [8, 8, 24, 40, 80, 160, 80]
    assert counts.accuracy.tolist() == [0.5, 0.5, 1, 1, 1, 1, 1]
    assert counts.boundary.tolist() == [pytest.approx(0.6), 1]
    assert counts.interior.tolist() == [1, 1]
    assert counts.overall == pytest.approx((0.8, 1.0))
    assert counts.to_dict(["a", "b"])["boundary"] == {"a": pytest.approx(0.6), "b": 1}


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_slow_reference(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, (3, 4)).repeat(9, 0).repeat(11, 1).astype(np.uint8)
    truth[draw.random(truth.shape) < 0.05] = IGNORE
    prediction = draw.integers(0, 3, truth.shape).astype(np.uint8)
    counts = DistanceCounts.zeros(3)
    counts.add(truth, prediction)
    expected = np.zeros_like(counts.counts)
    for (row, column), ring in slow_rings(truth).items():
        expected[0, ring, truth[row, column]] += 1
        expected[1, ring, truth[row, column]] += truth[row, column] == prediction[row, column]
    assert (counts.counts == expected).all()


def test_nothing_counted_is_nan() -> None:
    counts = DistanceCounts.zeros(2)
    counts.add(np.full((3, 3), IGNORE, np.uint8), np.zeros((3, 3), np.uint8))
    assert np.isnan(counts.accuracy).all()
    assert counts.to_dict(["a", "b"])["boundary_accuracy"] is None
