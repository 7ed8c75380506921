"""Polygons along pixel edges, traced from label rasters: without gaps or overlaps, and exact when rasterised back.

Coordinates are those of pixel corners: the first pixel is the square from (0, 0) to (1, 1), and rows count down.
Pixels that only touch at a corner are not connected, so rings never cross; a ring may touch itself in a point.
Neighbouring polygons share their borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refineseg.labels import UInt8

Ints = NDArray[np.int64]
EAST, SOUTH, WEST, NORTH = range(4)  # a right turn leads to the next
STRIP = 1024  # rows or columns processed at a time


@dataclass(frozen=True)
class Polygon:
    """A connected region of one class."""

    label: int  # train id
    # Nx2 corners (x, y), not closed: the outline clockwise as seen, then holes anticlockwise
    rings: tuple[Ints, ...]

    @property
    def area(self) -> int:
        """Number of pixels."""
        return sum(signed_area(ring) for ring in self.rings)


def signed_area(ring: Ints) -> int:
    """Number of pixels inside; positive if the ring is clockwise with rows going down."""
    x, y = ring[:, 0], ring[:, 1]
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) // 2


def trace_polygons(labels: UInt8, train_ids: Sequence[int]) -> Iterator[Polygon]:
    """Polygons of HxW train ids, class by class in the order of ``train_ids``."""
    present = np.bincount(labels.ravel(), minlength=256)
    for label in train_ids:
        if present[label]:
            yield from _trace_class(labels, label)


def _trace_class(labels: UInt8, label: int) -> Iterator[Polygon]:
    stride = labels.shape[1] + 1  # vertices are numbered row by row
    segments = _segments(labels, label)
    rings, ring_of = _cycles(_following(segments, stride))
    starts = np.concatenate([segment[:, 0] + segment[:, 1] * stride for segment in segments])
    corners = [np.stack([starts[ring] % stride, starts[ring] // stride], axis=1) for ring in rings]
    areas = [signed_area(ring) for ring in corners]
    walls = _Walls(segments, ring_of)
    parents = {i: walls.left_of(labels, label, corners[i]) for i, area in enumerate(areas) if area < 0}
    holes: dict[int, list[Ints]] = {i: [] for i, area in enumerate(areas) if area > 0}
    for hole in parents:
        outer = hole
        while outer in parents:  # another hole lies between; it has the same outline
            outer = parents[outer]
        holes[outer].append(corners[hole])
    for outer, inner in holes.items():
        yield Polygon(label, (corners[outer], *inner))


def _segments(labels: UInt8, label: int) -> list[Ints]:
    """Straight border segments by direction: Nx4, x and y of start and end, with the class on the right."""
    tops, bottoms = _row_runs(labels, label)
    lefts, rights = _row_runs(labels.T, label)
    return [
        tops[:, [1, 0, 2, 0]],
        rights[:, [0, 1, 0, 2]],
        bottoms[:, [2, 0, 1, 0]],
        lefts[:, [0, 2, 0, 1]],
    ]


def _row_runs(labels: UInt8, label: int) -> tuple[Ints, Ints]:
    """Runs of edges above and below the class's pixels: Nx3 each of line, first, end."""
    height, width = labels.shape
    above: list[Ints] = []
    below: list[Ints] = []
    nothing = np.zeros((1, width), np.bool_)
    for top in range(0, height, STRIP):
        bottom = min(top + STRIP, height)
        mask = labels[top:bottom] == label
        before = labels[top - 1 : top] == label if top else nothing
        after = labels[bottom : bottom + 1] == label if bottom < height else nothing
        above.append(_runs(mask & ~np.concatenate([before, mask[:-1]]), top))
        below.append(_runs(mask & ~np.concatenate([mask[1:], after]), top + 1))
    return np.concatenate(above), np.concatenate(below)


def _runs(edges: NDArray[np.bool_], line: int) -> Ints:
    padded = np.zeros((edges.shape[0], edges.shape[1] + 2), np.int8)
    padded[:, 1:-1] = edges
    change = np.diff(padded, axis=1)
    rows, first = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return np.stack([rows + line, first, end], axis=1).astype(np.int64)


def _following(segments: list[Ints], stride: int) -> Ints:
    """Index of the next segment of the ring for every segment, in the order of ``_segments``.

    Where two segments leave a corner, pixels of the class touch diagonally; the right turn stays on its own pixel.
    """
    starts = [segment[:, 0] + segment[:, 1] * stride for segment in segments]
    ends = [segment[:, 2] + segment[:, 3] * stride for segment in segments]
    orders = [np.argsort(start) for start in starts]
    offsets = np.cumsum([0, *(len(start) for start in starts)])
    following = []
    for direction in range(4):
        right, left = (direction + 1) % 4, (direction + 3) % 4
        found = np.empty(len(ends[direction]), np.int64)
        open_ = np.ones(len(found), np.bool_)
        for turn in (right, left):
            ordered = starts[turn][orders[turn]]
            place = np.searchsorted(ordered, ends[direction])
            hit = open_ & (place < len(ordered))
            hit[hit] = ordered[place[hit]] == ends[direction][hit]
            found[hit] = orders[turn][place[hit]] + offsets[turn]
            open_ &= ~hit
        following.append(found)
    return np.concatenate(following)


def _cycles(following: Ints) -> tuple[list[Ints], Ints]:
    """The cycles of a permutation, and the number of each element's cycle."""
    nexts = following.tolist()
    ring_of = [-1] * len(nexts)
    rings: list[Ints] = []
    for first in range(len(nexts)):
        if ring_of[first] >= 0:
            continue
        ring = []
        at = first
        while ring_of[at] < 0:
            ring_of[at] = len(rings)
            ring.append(at)
            at = nexts[at]
        rings.append(np.array(ring, np.int64))
    return rings, np.array(ring_of, np.int64)


class _Walls:
    """The left borders of a class, sorted, to find the ring to the left of a hole."""

    def __init__(self, segments: list[Ints], ring_of: Ints) -> None:
        walls = segments[NORTH]
        self.order = np.lexsort((walls[:, 3], walls[:, 0]))
        self.x, self.top = walls[self.order, 0], walls[self.order, 3]
        self.rings = ring_of[sum(len(segments[i]) for i in range(NORTH)) :][self.order]

    def left_of(self, labels: UInt8, label: int, hole: Ints) -> int:
        """The ring at the start of the run of pixels on the hole's top edge.

        It is the outline, or a hole that begins further up or left, so that following these rings terminates.
        """
        corner = hole[np.lexsort((hole[:, 0], hole[:, 1]))[0]]
        column, row = int(corner[0]), int(corner[1]) - 1
        others = np.flatnonzero(labels[row, : column + 1] != label)
        x = int(others[-1]) + 1 if len(others) else 0
        first, end = np.searchsorted(self.x, [x, x + 1])
        place = int(first) + int(np.searchsorted(self.top[first:end], row, side="right")) - 1
        return int(self.rings[place])
