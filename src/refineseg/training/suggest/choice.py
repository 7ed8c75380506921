"""The choice: pictures that the model is unsure of, spread over kinds of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """One choice.

    Attributes:
        index: index of the picture.
        distance: to the nearest picture that is labelled or was chosen before, from 0 (alike) to 2.
    """

    index: int
    distance: float


def choose(features: Floats, uncertainty: Floats, number: int, labelled: Floats | None = None) -> list[Chosen]:
    """Pictures in the order of their worth: uncertainty times distance to what is known.

    The greedy k-centre algorithm (Gonzalez, 1985; as core-set selection Sener and Savarese, ICLR 2018), each
    distance weighted with the picture's uncertainty. Of equal pictures the first is taken. A picture at distance 0
    teaches nothing new, and comes only when no other is left.

    Args:
        features: NxD, one row a picture.
        uncertainty: N values, 0 or more.
        number: number of pictures to choose; all of them if there are fewer.
        labelled: MxD features of pictures that are labelled already.
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
        chosen.append(Chosen(index, float(distance[index])))
        left[index] = False
        distance = np.minimum(distance, _distance(features, features[index]))
    return chosen


def _unit(features: Floats) -> Floats:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12))


def _distance(features: Floats, other: Floats) -> Floats:
    """Cosine distance of every row to one vector, 0 to 2; rounding leaves no distance between equal ones."""
    distance = 1 - features @ other
    return np.where(distance < 1e-9, 0.0, distance)
