"""Scores against hand-computed numbers, properties, and the published scripts' definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refineseg.errors import InputError
from refineseg.evaluation.metrics import (
    MEANS,
    Counts,
    MeanOver,
    Sums,
    confusion_matrix,
    divide,
    means,
    scores,
)
from refineseg.labels import IGNORE
from tests.evaluation import references
from tests.evaluation.references import random_maps


def confusion_of(truths: references.Maps, predictions: references.Maps, num_classes: int) -> Counts:
    total = np.zeros((num_classes, num_classes), np.int64)
    for truth, prediction in zip(truths, predictions, strict=True):
        total += confusion_matrix(truth, prediction, num_classes)
    return total


def test_figures_computed_by_hand() -> None:
    # Class 0: 3 of 4 found, 1 false; class 1: 4 of 5 found, 1 false; class 2 is in neither.
    truth = np.array([[0, 0, 0, 0, 1], [1, 1, 1, 1, IGNORE]], np.uint8)
    prediction = np.array([[0, 0, 0, 1, 0], [1, 1, 1, 1, 2]], np.uint8)
    confusion = confusion_matrix(truth, prediction, 3)
    assert confusion.tolist() == [[3, 1, 0], [1, 4, 0], [0, 0, 0]]
    figures = scores(confusion)
    assert figures.iou[:2].tolist() == pytest.approx([3 / 5, 4 / 6])
    assert math.isnan(figures.iou[2])
    assert figures.mean_iou == pytest.approx((3 / 5 + 4 / 6) / 2)
    assert figures.pixel_accuracy == pytest.approx(7 / 9)
    assert figures.mean_class_accuracy == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert figures.frequency_weighted_iou == pytest.approx(4 / 9 * 3 / 5 + 5 / 9 * 4 / 6)
    assert figures.mean_dice == pytest.approx((6 / 8 + 8 / 10) / 2)
    assert figures.precision[:2].tolist() == pytest.approx([3 / 4, 4 / 5])
    plain = figures.to_dict(["a", "b", "c"])
    assert plain["iou"]["c"] is None
    assert plain["mean_iou"] == pytest.approx(0.6333333)


@pytest.mark.parametrize(
    ("rule", "all_right", "half_right"),
    [("truth", 1, 1 / 2), ("union", 1, 1 / 4), ("zero", 1 / 3, 1 / 6), ("all", math.nan, math.nan)],
)
def test_each_rule_for_absent_classes(rule: MeanOver, all_right: float, half_right: float) -> None:
    # Of three classes only the first is in the truth; then half of it is taken for the second.
    confusion = np.array([[8, 0, 0], [0, 0, 0], [0, 0, 0]], np.int64)
    assert scores(confusion, rule).mean_iou == pytest.approx(all_right, nan_ok=True)
    confusion[0, :2] = 4
    assert scores(confusion, rule).mean_iou == pytest.approx(half_right, nan_ok=True)


def test_only_void_has_no_score() -> None:
    truth = np.full((3, 3), IGNORE, np.uint8)
    figures = scores(confusion_matrix(truth, np.zeros((3, 3), np.uint8), 2))
    assert all(math.isnan(getattr(figures, name)) for name in MEANS)


def test_misfits_are_refused() -> None:
    with pytest.raises(InputError, match="one size"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)
    with pytest.raises(InputError, match=r"0\.\.1, got 2"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.full((2, 2), 2, np.uint8), 2)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_properties(seed: int, num_classes: int) -> None:
    truths, predictions = random_maps(seed, 3, num_classes)
    confusion = confusion_of(truths, predictions, num_classes)
    assert confusion.sum() == sum(int((truth != IGNORE).sum()) for truth in truths)
    figures = scores(confusion)
    known = figures.iou[~np.isnan(figures.iou)]
    assert ((known >= 0) & (known <= 1)).all()
    # Other names for the classes change no mean.
    order = np.random.default_rng(seed).permutation(num_classes)
    renamed = scores(confusion[np.ix_(order, order)])
    for name in MEANS:
        assert getattr(renamed, name) == pytest.approx(getattr(figures, name))
    # A perfect prediction scores 1; truth and prediction exchanged have the same IoU.
    assert scores(np.diag(confusion.sum(1))).mean_iou == 1
    np.testing.assert_allclose(scores(confusion.T).iou, figures.iou)
    # Dice and IoU say the same of a class.
    dice = divide(2 * np.diag(confusion).astype(float), (confusion.sum(0) + confusion.sum(1)).astype(float))
    np.testing.assert_allclose(dice, 2 * figures.iou / (1 + figures.iou))


def test_means_of_many_at_once_are_those_of_each() -> None:
    parts = [Sums.of(confusion_of(*random_maps(seed, 1), 8)) for seed in range(5)]
    stacked = Sums(*(np.stack([getattr(part, name) for part in parts]) for name in ("hit", "true", "predicted")))
    for rule in ("truth", "union", "zero", "all"):
        together = means(stacked, rule)
        for index, part in enumerate(parts):
            for name, value in means(part, rule).items():
                np.testing.assert_allclose(together[name][index], value)


CATEGORIES = {"first": [0, 1, 2], "second": [3, 4], "third": [5], "gone": [6, 7]}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("absent", [(), (5,), (6, 7)])
def test_cityscapes_script(seed: int, absent: tuple[int, ...]) -> None:
    truths, predictions = random_maps(seed, absent=absent)
    if seed == 3:  # a class that is predicted and never true counts 0
        truths = [np.where(truth == 4, np.uint8(3), truth) for truth in truths]
    by_class, mean, by_category, category_mean = references.cityscapes(truths, predictions, 8, CATEGORIES)
    figures = scores(confusion_of(truths, predictions, 8), "union", CATEGORIES)
    np.testing.assert_allclose(figures.iou, list(by_class.values()), atol=1e-6)
    assert figures.mean_iou == pytest.approx(mean, abs=1e-6)
    assert figures.category_iou == pytest.approx(by_category, abs=1e-6, nan_ok=True)
    assert figures.mean_category_iou == pytest.approx(category_mean, abs=1e-6)
    assert math.isnan(figures.iou[7]) == (7 in absent)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("absent", [(), (2,)])
def test_voc_devkit(seed: int, absent: tuple[int, ...]) -> None:
    truths, predictions = random_maps(seed, absent=absent)
    accuracies, average = references.voc(truths, predictions, 8)
    figures = scores(confusion_of(truths, predictions, 8), "all")
    np.testing.assert_allclose(100 * figures.iou, accuracies, atol=1e-6)
    assert 100 * figures.mean_iou == pytest.approx(average, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("absent", [(), (2, 6)])
def test_ade_toolkit(seed: int, absent: tuple[int, ...]) -> None:
    truths, predictions = random_maps(seed, absent=absent)
    iou, mean, accuracy = references.ade(truths, predictions, 8)
    figures = scores(confusion_of(truths, predictions, 8), "zero")
    np.testing.assert_allclose(np.nan_to_num(figures.iou), iou, atol=1e-6)
    assert figures.mean_iou == pytest.approx(mean, abs=1e-6)
    assert figures.pixel_accuracy == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_authors_averaging(seed: int) -> None:
    truths, predictions = random_maps(seed, absent=(1,))
    truths = [np.where(truth == 4, np.uint8(3), truth) for truth in truths]  # 4 is predicted, never true
    mean, accuracy, class_accuracy = references.authors(truths, predictions, 8)
    figures = scores(confusion_of(truths, predictions, 8))
    assert figures.mean_iou == pytest.approx(mean, abs=1e-6)
    assert figures.pixel_accuracy == pytest.approx(accuracy, abs=1e-6)
    assert figures.mean_class_accuracy == pytest.approx(class_accuracy, abs=1e-6)
