"""Slow, literal references: the published definitions, pixel by pixel and class by class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refineseg.labels import IGNORE, UInt8

Maps = Sequence[UInt8]


def random_maps(
    seed: int, count: int = 6, num_classes: int = 8, absent: Sequence[int] = (), void: float = 0.1
) -> tuple[list[UInt8], list[UInt8]]:
    """Truths and predictions that agree on about two thirds of the pixels; ``absent`` classes are in neither."""
    draw = np.random.default_rng(seed)
    classes = np.array([item for item in range(num_classes) if item not in absent], np.uint8)
    truths, predictions = [], []
    for _ in range(count):
        shape = tuple(int(side) for side in draw.integers(5, 14, 2))
        truth = draw.choice(classes, shape)
        prediction = np.where(draw.random(shape) < 0.6, truth, draw.choice(classes, shape))
        truth = np.where(draw.random(shape) < void, np.uint8(IGNORE), truth)
        truths.append(truth.astype(np.uint8))
        predictions.append(prediction.astype(np.uint8))
    return truths, predictions


def cityscapes(
    truths: Maps, predictions: Maps, num_classes: int, categories: dict[str, list[int]]
) -> tuple[dict[int, float], float, dict[str, float], float]:
    """Class IoU, its average, category IoU, its average: one matrix; scores without a denominator are nan and
    left out of the average; rows of ignored labels (here IGNORE) are no false positives."""
    matrix: dict[tuple[int, int], int] = {}
    for truth, prediction in zip(truths, predictions, strict=True):
        for true, predicted in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
            matrix[true, predicted] = matrix.get((true, predicted), 0) + 1
    valid = range(num_classes)

    def iou(members: list[int]) -> float:
        tp = sum(matrix.get((t, p), 0) for t in members for p in members)
        fn = sum(matrix.get((t, p), 0) for t in members for p in range(256)) - tp
        fp = sum(matrix.get((t, p), 0) for t in valid if t not in members for p in members)
        return tp / (tp + fp + fn) if tp + fp + fn else math.nan

    def average(values: list[float]) -> float:
        known = [value for value in values if not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    by_class = {item: iou([item]) for item in valid}
    by_category = {name: iou(members) for name, members in categories.items()}
    return by_class, average(list(by_class.values())), by_category, average(list(by_category.values()))


def voc(truths: Maps, predictions: Maps, num_classes: int) -> tuple[list[float], float]:
    """IoU in percent of every class, background included, and their plain mean; 0/0 is nan, as in MATLAB."""
    counts = np.zeros((num_classes, num_classes))
    for truth, prediction in zip(truths, predictions, strict=True):
        for y in range(truth.shape[0]):
            for x in range(truth.shape[1]):
                if truth[y, x] < 255:
                    counts[truth[y, x], prediction[y, x]] += 1
    accuracies = []
    for j in range(num_classes):
        gtj, resj, both = counts[j, :].sum(), counts[:, j].sum(), counts[j, j]
        below = gtj + resj - both
        accuracies.append(100 * both / below if below else math.nan)
    return accuracies, sum(accuracies) / num_classes


def ade(truths: Maps, predictions: Maps, num_classes: int) -> tuple[list[float], float, float]:
    """IoU, mean IoU and pixel accuracy from areas per picture; label 0 is unlabelled and classes are 1..K."""
    eps = np.finfo(float).eps
    intersection, union, right, labelled = [], [], 0, 0
    for truth, prediction in zip(truths, predictions, strict=True):
        lab = np.where(truth == IGNORE, 0, truth.astype(int) + 1)
        pred = (prediction.astype(int) + 1) * (lab > 0)
        same = pred * (pred == lab)
        areas = [[int((part == k).sum()) for k in range(1, num_classes + 1)] for part in (same, pred, lab)]
        intersection.append(areas[0])
        union.append([b + c - a for a, b, c in zip(*areas, strict=True)])
        right += int(((pred == lab) & (lab > 0)).sum())
        labelled += int((lab > 0).sum())
    iou = [sum(row[k] for row in intersection) / sum(eps + row[k] for row in union) for k in range(num_classes)]
    return iou, sum(iou) / num_classes, right / labelled


def authors(truths: Maps, predictions: Maps, num_classes: int) -> tuple[float, float, float]:
    """Mean IoU over the classes in the ground truth, pixel accuracy, mean class accuracy (REFERENCE section 3)."""
    pairs = [
        (int(true), int(predicted))
        for truth, prediction in zip(truths, predictions, strict=True)
        for true, predicted in zip(truth.ravel(), prediction.ravel(), strict=True)
        if true != IGNORE
    ]
    occurring = {true for true, _ in pairs}
    ious, recalls = [], []
    for item in range(num_classes):
        if item not in occurring:
            continue
        both = sum(1 for pair in pairs if pair == (item, item))
        either = sum(1 for pair in pairs if item in pair)
        ious.append(both / either)
        recalls.append(both / sum(1 for true, _ in pairs if true == item))
    right = sum(1 for true, predicted in pairs if true == predicted) / len(pairs)
    return sum(ious) / len(ious), right, sum(recalls) / len(recalls)


# Outlines ------------------------------------------------------------------------------------------------------


def near_outline(labels: UInt8, item: int, distance: int, frame: bool = True) -> NDArray[np.bool_]:
    """Pixels of a class with another class, or (``frame``) the outside, in the square around them."""
    height, width = labels.shape
    near = np.zeros(labels.shape, np.bool_)
    for y in range(height):
        for x in range(width):
            if labels[y, x] != item:
                continue
            for v in range(y - distance, y + distance + 1):
                for u in range(x - distance, x + distance + 1):
                    inside = 0 <= v < height and 0 <= u < width
                    if inside:
                        near[y, x] |= labels[v, u] not in (item, IGNORE)
                    else:
                        near[y, x] |= frame
    return near


def outline(labels: UInt8, item: int) -> list[tuple[int, int]]:
    """Pixels of a class with a 4-neighbour of another class."""
    height, width = labels.shape
    points = []
    for y in range(height):
        for x in range(width):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            values = [labels[v, u] for v, u in around if 0 <= v < height and 0 <= u < width]
            if labels[y, x] == item and any(value not in (item, IGNORE) for value in values):
                points.append((y, x))
    return points


def boundary(
    truth: UInt8, prediction: UInt8, item: int, region: int, contour: int, trimap: int, num_classes: int
) -> tuple[float, float, float]:
    """Boundary IoU, F-score and trimap IoU of one class; nan where there is nothing."""
    predicted = np.where(truth == IGNORE, IGNORE, prediction).astype(np.uint8)
    true_region, region_ = near_outline(truth, item, region), near_outline(predicted, item, region)
    either = (true_region | region_).sum()
    iou = float((true_region & region_).sum() / either) if either else math.nan

    mine, theirs = outline(predicted, item), outline(truth, item)

    def near(point: tuple[int, int], others: list[tuple[int, int]]) -> bool:
        return any(math.hypot(point[0] - v, point[1] - u) <= contour for v, u in others)

    precision = sum(near(point, theirs) for point in mine) / len(mine) if mine else 0.0
    recall = sum(near(point, mine) for point in theirs) / len(theirs) if theirs else 0.0
    score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    if not mine and not theirs:
        score = math.nan

    band = np.zeros(truth.shape, np.bool_)
    for other in range(num_classes):
        band |= near_outline(truth, other, trimap, frame=False)
    true, found = band & (truth == item), band & (predicted == item)
    either = (true | found).sum()
    return iou, score, float((true & found).sum() / either) if either else math.nan
