"""Boundary quality: boundary IoU, boundary F-score and trimap IoU, for all classes in one pass.

Void pixels (IGNORE in the truth) form no outline in truth or prediction and do not count.

- *Boundary IoU* (Cheng et al., CVPR 2021): IoU of the pixels of a class within d pixels of its outline, in truth
  and in prediction. There a pixel is within d if the (2d+1)x(2d+1) square around it contains another class or
  leaves the picture; d = max(1, round(0.02 diagonal)).
- *Boundary F-score* (Csurka et al., BMVC 2013): an outline pixel of a class has a 4-neighbour of another class;
  precision is the share of predicted ones with a true one of that class within a Euclidean distance of
  ceil(0.0075 diagonal), recall the converse. Csurka et al. average F over pictures; here the counts are summed
  over the data set first, as for all scores.
- *Trimap IoU* (Kohli et al., IJCV 2009): IoU over the band of pixels within ``trimap`` pixels (square) of an
  outline of the truth.

If void covers the outlines, as in PASCAL VOC, the last two would describe the few other places: they are None if
more pixels of classes touch void than touch another class.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, hypot, isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import InputError
from refineseg.evaluation.metrics import Counts, Floats, Sums, by_name, class_mean, divide, nan_to_none, scores
from refineseg.labels import IGNORE, UInt8

Mask = NDArray[np.bool_]
REGION_RATIO, CONTOUR_RATIO, TRIMAP = 0.02, 0.0075, 5
CELL = 16  # side in pixels of the grid cells that exclude far points


@dataclass(frozen=True)
class OutlineDistances:
    """Distances in pixels for comparing outlines, for one picture size."""

    region: int
    contour: int
    trimap: int

    @classmethod
    def for_size(cls, height: int, width: int) -> OutlineDistances:
        """The published fractions of the diagonal."""
        diagonal = hypot(height, width)
        return cls(max(1, round(REGION_RATIO * diagonal)), ceil(CONTOUR_RATIO * diagonal), TRIMAP)


@dataclass
class BoundaryCounts:
    """Counts summed over pictures; a measure for ``evaluate``."""

    region: Counts  # pixels near outlines per class, 3xK: in both, in truth, in prediction
    contour: Counts  # outline pixels per class, 4xK: predicted and matched, predicted, true and matched, true
    band: Counts  # confusion matrix KxK within the trimap
    hidden: int = 0  # true pixels of classes with a void 4-neighbour
    distances: OutlineDistances | None = None  # fixed distances; None for those of each picture's size

    @classmethod
    def zeros(cls, num_classes: int, distances: OutlineDistances | None = None) -> BoundaryCounts:
        """Zero counts."""
        region, contour, band = (np.zeros((rows, num_classes), np.int64) for rows in (3, 4, num_classes))
        return cls(region, contour, band, distances=distances)

    def add(self, truth: UInt8, prediction: UInt8, probabilities: Any = None) -> None:  # noqa: ARG002
        """Add a picture: train ids HxW. InputError if the sizes differ."""
        if truth.shape != prediction.shape:
            raise InputError(f"expected masks of one size, got {truth.shape} and {prediction.shape}")
        count = self.band.shape[0]
        distances = self.distances or OutlineDistances.for_size(*truth.shape)
        predicted = np.where(truth == IGNORE, np.uint8(IGNORE), prediction)
        near_truth, near_predicted = (
            near_outline(truth, distances.region),
            near_outline(predicted, distances.region),
        )
        both = near_truth & near_predicted & (truth == predicted)
        self.region += [
            per_class(truth, both, count),
            per_class(truth, near_truth, count),
            per_class(predicted, near_predicted, count),
        ]
        mine, theirs = ContourPoints.of(predicted), ContourPoints.of(truth)
        self.contour += [
            np.bincount(mine.labels[mine.matched(theirs, distances.contour)], minlength=count),
            np.bincount(mine.labels, minlength=count),
            np.bincount(theirs.labels[theirs.matched(mine, distances.contour)], minlength=count),
            np.bincount(theirs.labels, minlength=count),
        ]
        self.hidden += beside_void(truth)
        where = np.flatnonzero(near_outline(truth, distances.trimap, frame=False))
        pairs = truth.ravel()[where].astype(np.int64) * count + predicted.ravel()[where]
        self.band += np.bincount(pairs, minlength=count**2).reshape(count, count)

    def merge(self, other: BoundaryCounts) -> None:
        """Add the counts of another."""
        self.region += other.region
        self.contour += other.contour
        self.band += other.band
        self.hidden += other.hidden

    @property
    def boundary_iou(self) -> Floats:
        """By class; NaN without any outline."""
        both, true, predicted = self.region.astype(np.float64)
        return divide(both, true + predicted - both)

    @property
    def f_score(self) -> Floats:
        """By class, 2PR/(P+R); 0 if only one of truth and prediction has an outline, NaN if neither has."""
        hit, predicted, found, true = self.contour.astype(np.float64)
        precision, recall = np.nan_to_num(divide(hit, predicted)), np.nan_to_num(divide(found, true))
        score = np.nan_to_num(divide(2 * precision * recall, precision + recall))
        return np.where(predicted + true > 0, score, np.nan)

    @property
    def trimap_iou(self) -> Floats:
        """By class, within the band."""
        return scores(self.band).iou

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Means over the classes with a true outline, and figures by class; None if void covers the outlines."""
        have = self.region[1].astype(np.float64)
        outlined = Sums(have, have, have)
        covered = self.hidden > int(self.contour[3].sum())  # most true outlines, by void
        values: dict[str, Any] = {}
        for name in ("boundary_iou", "f_score", "trimap_iou"):
            per = getattr(self, name)
            mean = scores(self.band).mean_iou if name == "trimap_iou" else class_mean(per, outlined, "truth")
            if name != "boundary_iou" and covered:
                per, mean = np.full_like(per, np.nan), np.nan
            values |= {
                f"mean_{name}": nan_to_none(float(mean)),
                name: by_name(names, per),
            }
        return values


def near_outline(labels: UInt8, distance: int, frame: bool = True) -> Mask:
    """Pixels HxW with another class in the square of side 2 ``distance`` + 1 around them; void does not count.

    With ``frame`` the border of the picture is an outline too.
    """
    lowest = window(labels, distance, np.minimum, IGNORE)
    highest = window(np.where(labels == IGNORE, np.uint8(0), labels), distance, np.maximum, 0)
    near = lowest != highest
    if frame:
        near[:distance] = near[-distance:] = True
        near[:, :distance] = near[:, -distance:] = True
    return np.asarray(near & (labels != IGNORE))


def window(values: UInt8, distance: int, extreme: np.ufunc, outside: int) -> UInt8:
    """Minimum or maximum over the square of side 2 ``distance`` + 1 around each pixel.

    In logarithmic time: two overlapping windows of length n make one of any length up to 2n.
    """
    length = 2 * distance + 1
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (distance, distance)
        current, reach = np.pad(values, padding, constant_values=outside), 1
        while reach < length:
            step = min(reach, length - reach)
            if axis == 0:
                current = extreme(current[step:], current[:-step])
            else:
                current = extreme(current[:, step:], current[:, :-step])
            reach += step
        values = current
    return values


def beside_void(labels: UInt8) -> int:
    """Number of pixels of classes with a void 4-neighbour."""
    void = np.pad(labels == IGNORE, 1)
    near = void[:-2, 1:-1] | void[2:, 1:-1] | void[1:-1, :-2] | void[1:-1, 2:]
    return int(np.count_nonzero(near & ~void[1:-1, 1:-1]))


def per_class(labels: UInt8, where: Mask, count: int) -> Counts:
    """Number of chosen pixels of each class."""
    chosen = np.where(where, labels, np.uint8(IGNORE))
    return np.bincount(chosen.ravel(), minlength=256)[:count]


@dataclass(frozen=True)
class ContourPoints:
    """N pixels with a 4-neighbour of another class, sorted by class, row, column; and the picture's shape."""

    labels: UInt8
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, labels: UInt8) -> ContourPoints:
        """The outline pixels of a map HxW."""
        edge = np.zeros(labels.shape, np.bool_)
        valid = labels != IGNORE
        for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
            change = (labels[first] != labels[second]) & valid[first] & valid[second]
            edge[first] |= change
            edge[second] |= change
        rows, columns = np.nonzero(edge)
        found = labels[rows, columns]
        order = np.argsort(found, kind="stable")
        return cls(found[order], rows[order], columns[order], labels.shape)

    def matched(self, others: ContourPoints, distance: int) -> Mask:
        """Which of these points have a point of ``others`` of the same class within the Euclidean distance.

        Keys encode class, row and column, so that a row of the disk around a point is an interval in the sorted
        keys of the others. Near rows are searched first, and matched points are removed.
        """
        result = np.zeros(len(self.labels), np.bool_)
        pitch = self.shape[1] + distance + 1  # intervals do not reach into the next row
        block = (self.shape[0] + 2 * distance) * pitch
        keys = np.append(others._keys(pitch, block, distance), np.iinfo(np.int64).max)
        waiting = np.flatnonzero(self._near_cells(others, distance))
        mine = self._keys(pitch, block, distance)[waiting]
        for row in sorted(range(-distance, distance + 1), key=abs):
            half = isqrt(distance**2 - row**2)
            start = mine + (row * pitch - half)
            hit = keys[np.searchsorted(keys, start)] <= start + 2 * half
            result[waiting[hit]] = True
            waiting, mine = waiting[~hit], mine[~hit]
        return result

    def _keys(self, pitch: int, block: int, distance: int) -> NDArray[np.int64]:
        return self.labels.astype(np.int64) * block + (self.rows + distance) * pitch + self.columns

    def _near_cells(self, others: ContourPoints, distance: int) -> Mask:
        """Points that may have a match: there is a point of their class in a cell within reach."""
        reach = -(-distance // CELL)
        height, width = (-(-side // CELL) + 2 * reach for side in self.shape)
        grid = np.zeros((256, height, width), np.bool_)
        grid[others.labels, others.rows // CELL + reach, others.columns // CELL + reach] = True
        used = np.unique(others.labels)
        for item in used:
            cells = grid[item].astype(np.uint8)
            grid[item] = window(cells, reach, np.maximum, 0) > 0 if reach else cells
        return np.asarray(grid[self.labels, self.rows // CELL + reach, self.columns // CELL + reach])
