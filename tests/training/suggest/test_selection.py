"""The choice of pictures, by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refineseg.training.suggest.selection import select_pictures

A, B, C = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]


def order(features: list[list[float]], uncertainty: list[float], number: int, known: object = None) -> list[int]:
    labelled = None if known is None else np.array(known)
    return [index for index, _ in select_pictures(np.array(features), np.array(uncertainty), number, labelled)]


def test_each_kind_before_a_second_of_one() -> None:
    """Of three alike and most unsure pictures one is taken; then the other kinds, the more unsure one first."""
    features = [A, A, [2.0, 0.0, 0.0], B, C]
    assert order(features, [0.9, 0.8, 0.7, 0.1, 0.2], 3) == [0, 4, 3]
    assert order(features, [0.9, 0.8, 0.7, 0.1, 0.2], 9) == [0, 4, 3, 1, 2], "all of them, the alike ones last"


def test_what_is_labelled_is_known() -> None:
    assert order([A, B, C], [0.9, 0.3, 0.2], 2, known=[A]) == [1, 2]


def test_distances_by_hand() -> None:
    """45 degrees from the labelled one: 1 - cos; then the next is as far from the nearer of the two."""
    slanted = [1.0, 1.0, 0.0]
    chosen = select_pictures(np.array([slanted, B]), np.array([1.0, 0.1]), 2, np.array([A]))
    near = 1 - np.sqrt(0.5)
    np.testing.assert_allclose([distance for _, distance in chosen], [near, near])


@given(st.integers(1, 12), st.integers(1, 15), st.integers(0, 10_000))
def test_each_picture_once(count: int, number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    chosen = select_pictures(rng.normal(size=(count, 4)), rng.random(count), number)
    assert len({index for index, _ in chosen}) == len(chosen) == min(count, number)
