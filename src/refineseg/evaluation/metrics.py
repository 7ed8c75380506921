"""Scores as pure functions of the confusion matrix of a whole data set.

Rows are ground truth, columns are predictions. A class in neither has no IoU (NaN); the protocol decides which
classes the mean is over (``MeanOver``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import InputError
from refineseg.labels import IGNORE, UInt8

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

# truth: classes in the ground truth (the authors); union: classes in truth or prediction (Cityscapes);
# zero: all classes, 0 for one in neither (ADE20K's toolkit); all: all classes, NaN if one is in neither (VOC
# devkit).
MeanOver = Literal["truth", "union", "zero", "all"]
MEANS = ("mean_iou", "pixel_accuracy", "mean_class_accuracy", "frequency_weighted_iou", "mean_dice")


def confusion_matrix(truth: UInt8, prediction: UInt8, num_classes: int) -> Counts:
    """KxK counts of pixels: row is the true class, column the predicted one.

    Pixels whose truth is IGNORE do not count. Both masks are HxW train ids of the same size; InputError if not,
    or for an id outside the classes.
    """
    if truth.shape != prediction.shape:
        raise InputError(f"expected truth and prediction of one size, got {truth.shape} and {prediction.shape}")
    valid = truth != IGNORE
    true, predicted = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    if true.size and max(true.max(), predicted.max()) >= num_classes:
        worst = max(true.max(), predicted.max())
        raise InputError(f"expected train ids 0..{num_classes - 1}, got {worst}")
    return np.bincount(true * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


class Sums(NamedTuple):
    """Pixels per class (last axis): true positives, pixels in the ground truth, valid predicted pixels."""

    hit: Floats
    true: Floats
    predicted: Floats

    @classmethod
    def of(cls, confusion: Counts) -> Sums:
        """The sums of one confusion matrix KxK."""
        diagonal, rows, columns = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
        return cls(diagonal.astype(np.float64), rows.astype(np.float64), columns.astype(np.float64))

    @property
    def union(self) -> Floats:
        """Pixels in truth or prediction."""
        return self.true + self.predicted - self.hit


@dataclass(frozen=True)
class Scores:
    """Figures of a confusion matrix; NaN if there is nothing to divide by."""

    iou: Floats  # true positives over union, by class
    accuracy: Floats  # recall by class: share of its true pixels that were found
    precision: Floats  # share of its predicted pixels that are right, by class
    mean_iou: float  # mean over the classes of the rule
    pixel_accuracy: float  # share of valid pixels that are right
    mean_class_accuracy: float  # mean of ``accuracy`` over the classes in the ground truth
    frequency_weighted_iou: float  # IoU weighted by the class's share of true pixels
    mean_dice: float  # mean of Dice, 2 IoU / (1 + IoU), over the same classes as ``mean_iou``
    # IoU by category; confusions within a category do not count
    category_iou: dict[str, float] = field(default_factory=dict)
    mean_category_iou: float = float("nan")  # mean over the categories in truth or prediction

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Plain values; None for NaN."""
        values: dict[str, Any] = {name: nan_to_none(getattr(self, name)) for name in MEANS}
        for name in ("iou", "accuracy", "precision"):
            values[name] = by_name(names, getattr(self, name))
        if self.category_iou:
            values["mean_category_iou"] = nan_to_none(self.mean_category_iou)
            values["category_iou"] = by_name(self.category_iou, self.category_iou.values())
        return values


def scores(
    confusion: Counts, mean_over: MeanOver = "truth", categories: Mapping[str, Sequence[int]] | None = None
) -> Scores:
    """Scores of KxK counts (rows are ground truth), by a rule of the mean, with optional train ids by category."""
    sums = Sums.of(confusion)
    by_category = {name: _category_iou(confusion, list(ids)) for name, ids in (categories or {}).items()}
    found = [value for value in by_category.values() if not np.isnan(value)]
    return Scores(
        iou=divide(sums.hit, sums.union),
        accuracy=divide(sums.hit, sums.true),
        precision=divide(sums.hit, sums.predicted),
        **{name: float(values) for name, values in means(sums, mean_over).items()},
        category_iou=by_category,
        mean_category_iou=float(np.mean(found)) if found else float("nan"),
    )


def means(sums: Sums, mean_over: MeanOver = "truth") -> dict[str, Floats]:
    """The means of ``MEANS``, each of shape ..., from sums of shape ...xK."""
    pixels = sums.true.sum(-1)
    iou = divide(sums.hit, sums.union)
    return {
        "mean_iou": class_mean(iou, sums, mean_over),
        "pixel_accuracy": divide(sums.hit.sum(-1), pixels),
        "mean_class_accuracy": class_mean(divide(sums.hit, sums.true), sums, "truth"),
        "frequency_weighted_iou": divide((sums.true * np.nan_to_num(iou)).sum(-1), pixels),
        "mean_dice": class_mean(divide(2 * sums.hit, sums.true + sums.predicted), sums, mean_over),
    }


def class_mean(values: Floats, sums: Sums, mean_over: MeanOver) -> Floats:
    """Mean over the last axis by the rule; NaN without a valid pixel."""
    if mean_over == "truth":
        chosen = sums.true > 0
    elif mean_over == "union":
        chosen = sums.union > 0
    else:
        chosen = np.ones(values.shape, np.bool_)
    filled = values if mean_over == "all" else np.nan_to_num(values)
    mean = divide(np.where(chosen, filled, 0.0).sum(-1), chosen.sum(-1).astype(np.float64))
    return np.where(sums.true.sum(-1) > 0, mean, np.nan)


def divide(above: Floats, below: Floats) -> Floats:
    """Quotient; NaN for a divisor of 0."""
    result: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
    return result


def nan_to_none(value: float) -> float | None:
    """A number for JSON; None for NaN."""
    return None if np.isnan(value) else float(value)


def by_name(names: Iterable[str], values: Iterable[float]) -> dict[str, float | None]:
    """Numbers for JSON by the name of their class or size; None for NaN."""
    return dict(zip(names, map(nan_to_none, values), strict=True))


def _category_iou(confusion: Counts, ids: list[int]) -> float:
    """IoU of the union of some classes."""
    rows, columns = confusion[ids].sum(), confusion[:, ids].sum()
    hit = confusion[np.ix_(ids, ids)].sum()
    union = rows + columns - hit
    return float(hit / union) if union else float("nan")
