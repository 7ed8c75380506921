"""The largest confusions of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refineseg.evaluation.metrics import Counts

TOP = 10
LEAST = 0.001  # share of the labelled pixels below which a class is left out


@dataclass(frozen=True)
class Confusion:
    """True and predicted train id, share of the true class's pixels, and share of all wrong pixels."""

    true: int
    predicted: int
    share: float
    of_errors: float


def top_confusions(confusion: Counts, most: int = TOP) -> list[Confusion]:
    """The largest shares of a class that are predicted as another, without rare classes.

    Shares, not pixels, since every class has the same weight in the mean IoU.
    """
    wrong = confusion.astype(np.float64)
    np.fill_diagonal(wrong, 0)
    rows, errors = confusion.sum(1), wrong.sum()
    frequent = rows >= LEAST * rows.sum()
    shares = np.where(frequent[:, None], wrong / np.maximum(rows, 1)[:, None], 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = [(int(place // len(rows)), int(place % len(rows))) for place in order]
    return [
        Confusion(true, predicted, float(shares[true, predicted]), float(wrong[true, predicted] / errors))
        for true, predicted in pairs
        if shares[true, predicted] > 0
    ]
