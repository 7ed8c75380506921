"""Selection of uncertain and diverse pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def select_pictures(
    features: Floats, uncertainty: Floats, number: int, labelled: Floats | None = None
) -> list[tuple[int, float]]:
    """At most ``number`` pictures, ordered by uncertainty times distance to known pictures.

    Each is an index and the distance to the nearest known or chosen picture before it, 0 (equal) to 2.
    Greedy k-centre (Gonzalez, 1985; core-set selection, Sener and Savarese, ICLR 2018) with distances weighted
    by uncertainty. Pictures at distance 0 come last. Features are NxD, those of labelled pictures MxD; the N
    uncertainties are not negative.
    """
    features = _unit(features)
    distance = np.full(len(features), 2.0)
    for known in _unit(labelled) if labelled is not None else ():
        distance = np.minimum(distance, _distance(features, known))
    left = np.ones(len(features), np.bool_)
    chosen = []
    for _ in range(min(number, len(features))):
        worth = np.where(left, uncertainty * distance + 1e-9 * uncertainty, -1.0)
        index = int(worth.argmax())
        chosen.append((index, float(distance[index])))
        left[index] = False
        distance = np.minimum(distance, _distance(features, features[index]))
    return chosen


def _unit(features: Floats) -> Floats:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def _distance(features: Floats, other: Floats) -> Floats:
    """Cosine distance of every row to a vector, 0 to 2; exactly 0 for equal ones."""
    distance = 1 - features @ other
    return np.where(distance < 1e-9, 0.0, distance)
