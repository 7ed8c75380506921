"""How well outlines are met: boundary IoU, boundary F-score and trimap IoU, for all classes in one pass.

Void (IGNORE in the truth) is unknown: it makes no outline, neither for the truth nor for the prediction, which is
void there too, and none of its pixels counts. Distances look across it.

- *Boundary IoU* (Cheng et al., CVPR 2021): IoU of the pixels of a class within d pixels of its outline, in truth
  and in prediction. As there, a pixel is within d if the (2d+1)x(2d+1) square around it holds another class or
  leaves the picture; d = max(1, round(0.02 diagonal)).
- *Boundary F-score* (Csurka et al., BMVC 2013): an outline pixel of a class has a 4-neighbour of another class;
  precision is the share of predicted ones with a true one of that class within a Euclidean distance of
  ceil(0.0075 diagonal), recall the converse. Csurka et al. average F over pictures; here the counts are summed
  over the data set first, as everywhere else. For one picture the two are the same.
- *Trimap IoU* (Kohli et al., IJCV 2009): IoU over the band of pixels within ``trimap`` pixels (square) of an
  outline of the truth.

Where void runs along the outlines, as in PASCAL VOC, the last two would be about the few places where it does not:
they are left out (None) if more pixels of classes touch void than touch another class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, hypot, isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import InputError
from refineseg.evaluation.metrics import Counts, Floats, Sums, class_mean, divide, nan_to_none, scores
from refineseg.labels import IGNORE, UInt8

Mask = NDArray[np.bool_]
REGION_RATIO, CONTOUR_RATIO, TRIMAP = 0.02, 0.0075, 5
CELL = 16  # pixels; far misses are told on a grid of such cells


@dataclass(frozen=True)
class Outlines:
    """Distances in pixels at which outlines are compared in a picture of one size."""

    region: int
    contour: int
    trimap: int

    @classmethod
    def for_size(cls, height: int, width: int, trimap: int = TRIMAP) -> Outlines:
        """The published shares of the picture's diagonal."""
        diagonal = hypot(height, width)
        return cls(max(1, round(REGION_RATIO * diagonal)), ceil(CONTOUR_RATIO * diagonal), trimap)


@dataclass
class BoundaryCounts:
    """Counts that add up over pictures; a measure for ``evaluate``.

    Attributes:
        region: pixels near outlines per class, 3xK: in both, in truth, in prediction.
        contour: outline pixels per class, 4xK: predicted and matched, predicted, true and matched, true.
        band: confusion matrix KxK within the trimap.
        hidden: pixels of classes with a 4-neighbour that is void, in the truth.
        distances: fixed ones, or None for those of each picture's size.
    """

    region: Counts
    contour: Counts
    band: Counts
    hidden: int = 0
    distances: Outlines | None = field(default=None)

    @classmethod
    def zeros(cls, num_classes: int, distances: Outlines | None = None) -> BoundaryCounts:
        """Nothing counted yet."""
        region, contour, band = (np.zeros((rows, num_classes), np.int64) for rows in (3, 4, num_classes))
        return cls(region, contour, band, distances=distances)

    def add(self, truth: UInt8, prediction: UInt8, probabilities: Any = None) -> None:  # noqa: ARG002
        """Count one picture: truth and prediction HxW of train ids. InputError if their sizes differ."""
        if truth.shape != prediction.shape:
            raise InputError(f"expected masks of one size, got {truth.shape} and {prediction.shape}")
        count = self.band.shape[0]
        distances = self.distances or Outlines.for_size(*truth.shape)
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
        """Count another's pictures."""
        self.region += other.region
        self.contour += other.contour
        self.band += other.band
        self.hidden += other.hidden

    @property
    def outlines_seen(self) -> bool:
        """Whether the truth's outlines lie between classes, not mostly under void."""
        return self.hidden <= int(self.contour[3].sum())

    @property
    def boundary_iou(self) -> Floats:
        """Per class; NaN where neither has an outline."""
        both, true, predicted = self.region.astype(np.float64)
        return divide(both, true + predicted - both)

    @property
    def f_score(self) -> Floats:
        """Per class, 2PR/(P+R); 0 where only one of truth and prediction has an outline, NaN where neither has."""
        hit, predicted, found, true = self.contour.astype(np.float64)
        precision, recall = np.nan_to_num(divide(hit, predicted)), np.nan_to_num(divide(found, true))
        score = np.nan_to_num(divide(2 * precision * recall, precision + recall))
        return np.where(predicted + true > 0, score, np.nan)

    @property
    def trimap_iou(self) -> Floats:
        """Per class, within the band."""
        return scores(self.band).iou

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Means over the classes with an outline in the truth, and by class; None where void hides them."""
        have = self.region[1].astype(np.float64)
        outlined = Sums(have, have, have)
        values: dict[str, Any] = {}
        for name in ("boundary_iou", "f_score", "trimap_iou"):
            per = getattr(self, name)
            mean = scores(self.band).mean_iou if name == "trimap_iou" else class_mean(per, outlined, "truth")
            if name != "boundary_iou" and not self.outlines_seen:
                per, mean = np.full_like(per, np.nan), np.nan
            values |= {
                f"mean_{name}": nan_to_none(float(mean)),
                name: dict(zip(names, map(nan_to_none, per), strict=True)),
            }
        return values


def near_outline(labels: UInt8, distance: int, frame: bool = True) -> Mask:
    """Pixels whose square of 2 ``distance`` + 1 holds another class than theirs; void neither has nor makes one.

    Args:
        labels: HxW train ids.
        distance: distance in pixels, 1 or more.
        frame: whether the picture's frame is an outline too.
    """
    lowest = window(labels, distance, np.minimum, IGNORE)
    highest = window(np.where(labels == IGNORE, np.uint8(0), labels), distance, np.maximum, 0)
    near = lowest != highest
    if frame:
        near[:distance] = near[-distance:] = True
        near[:, :distance] = near[:, -distance:] = True
    return np.asarray(near & (labels != IGNORE))


def window(values: UInt8, distance: int, least: np.ufunc, outside: int) -> UInt8:
    """Minimum or maximum over the square of 2 ``distance`` + 1 around each pixel.

    Windows are doubled: two overlapping ones of length n make one of any length up to 2n, so that the time goes
    with the logarithm of the distance.
    """
    length = 2 * distance + 1
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (distance, distance)
        current, reach = np.pad(values, padding, constant_values=outside), 1
        while reach < length:
            step = min(reach, length - reach)
            if axis == 0:
                current = least(current[step:], current[:-step])
            else:
                current = least(current[:, step:], current[:, :-step])
            reach += step
        values = current
    return values


def beside_void(labels: UInt8) -> int:
    """Number of pixels of classes with a 4-neighbour that is void."""
    void = np.pad(labels == IGNORE, 1)
    near = void[:-2, 1:-1] | void[2:, 1:-1] | void[1:-1, :-2] | void[1:-1, 2:]
    return int(np.count_nonzero(near & ~void[1:-1, 1:-1]))


def per_class(labels: UInt8, where: Mask, count: int) -> Counts:
    """Pixels of each class among those chosen."""
    chosen = np.where(where, labels, np.uint8(IGNORE))
    return np.bincount(chosen.ravel(), minlength=256)[:count]


@dataclass(frozen=True)
class ContourPoints:
    """Pixels with a 4-neighbour of another class, sorted by class, row, column.

    Attributes:
        labels, rows, columns: N each.
        shape: shape of the picture.
    """

    labels: UInt8
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, labels: UInt8) -> ContourPoints:
        """The outline pixels of all classes of a map HxW."""
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
        """Which of these points have one of ``others``, of the same class, within the Euclidean distance.

        The others' keys count class, row and column up; a row of the disk around a point is then an interval of
        keys, and a search in the sorted keys tells whether it holds one. Rows nearest to the point come first and
        points that are matched leave, so that few are left for the far rows.
        """
        result = np.zeros(len(self.labels), np.bool_)
        pitch = self.shape[1] + distance + 1  # no interval reaches into the next row
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
        """Points that can have a match: another point of the class is in a cell within reach."""
        reach = -(-distance // CELL)
        height, width = (-(-side // CELL) + 2 * reach for side in self.shape)
        grid = np.zeros((256, height, width), np.bool_)
        grid[others.labels, others.rows // CELL + reach, others.columns // CELL + reach] = True
        used = np.unique(others.labels)
        for item in used:
            cells = grid[item].astype(np.uint8)
            grid[item] = window(cells, reach, np.maximum, 0) > 0 if reach else cells
        return np.asarray(grid[self.labels, self.rows // CELL + reach, self.columns // CELL + reach])
