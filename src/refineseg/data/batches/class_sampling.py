"""Which pictures an epoch uses, by the classes in them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PER_CLASS = 100  # the authors' rounds: pictures of each class, and at least and at most this many pictures
SHORTEST, LONGEST = 1_000, 2_000


def class_balanced_weights(class_pixels: Tensor) -> Tensor:
    """Weights of pictures that draw all classes equally often: NxK pixel counts to N."""
    present = (class_pixels > 0).double()
    per_class = present / present.sum(0).clamp(min=1)
    weights = per_class.sum(1)
    return weights + (weights.sum() == 0)


def class_rounds(class_pixels: Tensor, count: int, random: torch.Generator) -> list[int]:
    """``count`` pictures in the authors' rounds, from NxK pixel counts.

    Pictures are looked at in random order, those of no round so far first, and taken if they show a class of which
    fewer than 100 pictures were taken. A round takes no picture twice; it is filled up to 1,000 and cut to 2,000.
    """
    present = class_pixels.numpy() > 0
    fresh = np.ones(len(present), bool)
    drawn: list[int] = []
    while len(drawn) < count:
        order = torch.randperm(len(present), generator=random).numpy()
        order = order[np.argsort(~fresh[order], kind="stable")]
        chosen = _wanted(present, order)
        if len(chosen) < SHORTEST:
            others = order[~np.isin(order, chosen)]
            chosen = np.concatenate([chosen, others[: SHORTEST - len(chosen)]])
        chosen = chosen[torch.randperm(len(chosen), generator=random).numpy()][:LONGEST]
        fresh[chosen] = False
        if not fresh.any():
            fresh[:] = True
        drawn += chosen.tolist()
    return drawn[:count]


def _wanted(present: NDArray[np.bool_], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pictures of ``order`` that show a class of which fewer than 100 were taken before them."""
    taken = np.zeros(present.shape[1], np.int64)
    chosen = []
    for index in order:
        classes = present[index]
        if (taken[classes] < PER_CLASS).any():
            chosen.append(index)
            taken += classes
            if taken.min() >= PER_CLASS:
                break
    return np.array(chosen, np.int64)
