"""Scores as pure functions of one confusion matrix over a whole data set.

Rows are ground truth, columns are predictions. A class that occurs in neither has no IoU (NaN): it is left out of
the mean and never counts as 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import InputError
from refineseg.labels import IGNORE, UInt8

Counts = NDArray[np.int64]


def confusion_matrix(truth: UInt8, prediction: UInt8, num_classes: int) -> Counts:
    """KxK counts of pixels: row is the true class, column the predicted one.

    Pixels whose truth is IGNORE do not count. Both masks are HxW train ids of the same size.

    Raises:
        InputError: sizes differ, or a mask holds an id outside the classes.
    """
    if truth.shape != prediction.shape:
        raise InputError(f"expected truth and prediction of one size, got {truth.shape} and {prediction.shape}")
    valid = truth != IGNORE
    true, predicted = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    if true.size and max(true.max(), predicted.max()) >= num_classes:
        worst = max(true.max(), predicted.max())
        raise InputError(f"expected train ids 0..{num_classes - 1}, got {worst}")
    return np.bincount(true * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """Figures of a confusion matrix.

    Attributes:
        iou: per class, true positives over union; NaN where the class is in neither truth nor prediction.
        accuracy: per class, share of its true pixels that were found; NaN where it is not in the truth.
        mean_iou: mean over the classes that occur in the ground truth (the authors' rule).
        pixel_accuracy: share of all valid pixels that are right.
        mean_class_accuracy: mean of ``accuracy`` over the classes in the ground truth.
        frequency_weighted_iou: IoU weighted by the class's share of true pixels.
    """

    iou: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    mean_iou: float
    pixel_accuracy: float
    mean_class_accuracy: float
    frequency_weighted_iou: float

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Plain values; figures that do not exist are None."""
        return {
            "mean_iou": _plain(self.mean_iou),
            "pixel_accuracy": _plain(self.pixel_accuracy),
            "mean_class_accuracy": _plain(self.mean_class_accuracy),
            "frequency_weighted_iou": _plain(self.frequency_weighted_iou),
            "iou": {name: _plain(value) for name, value in zip(names, self.iou, strict=True)},
            "accuracy": {name: _plain(value) for name, value in zip(names, self.accuracy, strict=True)},
        }


def scores(confusion: Counts) -> Scores:
    """Sums over the data set, divided once. NaN figures where there is nothing to divide by."""
    hit = np.diag(confusion).astype(np.float64)
    true, predicted = confusion.sum(1).astype(np.float64), confusion.sum(0).astype(np.float64)
    union = true + predicted - hit
    nothing = np.full_like(hit, np.nan)
    iou = np.divide(hit, union, out=nothing.copy(), where=union > 0)
    accuracy = np.divide(hit, true, out=nothing.copy(), where=true > 0)
    present = true > 0
    pixels = true.sum()
    if not pixels:
        return Scores(iou, accuracy, *(float("nan"),) * 4)
    return Scores(
        iou=iou,
        accuracy=accuracy,
        mean_iou=float(iou[present].mean()),
        pixel_accuracy=float(hit.sum() / pixels),
        mean_class_accuracy=float(accuracy[present].mean()),
        frequency_weighted_iou=float((true[present] * iou[present]).sum() / pixels),
    )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
