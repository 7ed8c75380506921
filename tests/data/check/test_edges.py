from __future__ import annotations

import numpy as np
import pytest

from refineseg.data.check.measurements.edges import (
    REACH,
    class_borders,
    correlation_surface,
    fit_outlines,
    gradient,
    peak_of,
    working_size,
)
from tests.data.check.corpus import scene


def test_surface_is_the_mean_under_the_moved_border() -> None:
    rng = np.random.default_rng(0)
    edges = rng.normal(size=(70, 64)).astype(np.float32)
    border = rng.random((70, 64)) < 0.05
    scores = correlation_surface(edges, border)
    assert scores.shape == (2 * REACH + 1, 2 * REACH + 1)
    rows, columns = border.nonzero()
    for down, right in ((0, 0), (3, -5), (-REACH, REACH), (17, 2)):
        total = 0.0
        for row, column in zip(rows + down, columns + right, strict=True):
            if 0 <= row < 70 and 0 <= column < 64:
                total += float(edges[row, column])
        assert scores[down + REACH, right + REACH] == pytest.approx(total / len(rows), abs=1e-5)


def test_borders_are_both_sides_of_a_change_but_not_the_rim() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    expected = np.zeros((8, 8), bool)
    expected[2:-2, 3:5] = True
    assert (class_borders(mask) == expected).all()


def test_gradient_of_a_blank_picture_says_nothing() -> None:
    assert not gradient(np.full((40, 40), 9, np.uint8)).any()


@pytest.mark.parametrize("move", [(0, 0), (6, -9), (-12, 4)])
def test_fit_finds_the_way_back(move: tuple[int, int]) -> None:
    picture, labels = scene(np.random.default_rng(3))
    edges = gradient(picture.mean(axis=2).astype(np.uint8))
    found = fit_outlines(edges, np.roll(labels, move, (0, 1)), scale=1.0)
    assert found is not None
    facts, scores = found
    assert facts.offset == (-move[0], -move[1]) == peak_of(scores)
    assert facts.peak == pytest.approx(float(scores.max()))
    assert (facts.here > 0.7 * facts.peak) == (move == (0, 0))


def test_offset_is_in_pixels_of_the_picture() -> None:
    picture, labels = scene(np.random.default_rng(4))
    found = fit_outlines(gradient(picture.mean(axis=2).astype(np.uint8)), np.roll(labels, 6, 1), scale=0.5)
    assert found is not None
    assert found[0].offset == (0, -12)


def test_nothing_is_said_without_borders() -> None:
    picture, labels = scene(np.random.default_rng(5))
    assert fit_outlines(gradient(picture.mean(axis=2).astype(np.uint8)), np.zeros_like(labels), 1.0) is None


def test_working_size_never_enlarges() -> None:
    assert working_size(100, 60) == (100, 60)
    assert working_size(1024, 512) == (256, 128)
    assert working_size(4000, 3) == (256, 1)
