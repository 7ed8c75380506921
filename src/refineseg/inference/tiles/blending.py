"""Scores of overlapping windows, blended into those of the whole picture strip by strip.

Scores are blended at the network's output resolution, a quarter of the picture's, before upsampling. Both steps
are linear, so wherever the windows agree with the whole picture the result does too, except for rounding. Windows
start at multiples of 32 pixels, so that the grids of all strides line up.

Memory: the scores of a row of windows (classes x tile/4 x width/4 floats), one window's activations, one strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Pixels
from refineseg.config import scaled
from refineseg.inference.tiles.tiling import STRIDE, Span, Tiling

TINY = 1e-6  # least weight, at the very edge of a window
Map = NDArray[np.float32]  # scores, 1xKxhxw
Read = Callable[[int, int, int, int], Pixels]  # from top, bottom, left, right to that part of the picture, HxWxC


@dataclass(frozen=True)
class Strip:
    """Rows of the picture whose scores are final."""

    top: int  # first row
    bottom: int  # row after the last
    maps: tuple[Map, ...]  # blended scores BxKxhxw per view, starting at row ``firsts[i]`` of the view's whole map
    firsts: tuple[int, ...]  # first row of each map within the whole map
    sources: tuple[int, ...]  # number of rows of each whole map

    @classmethod
    def whole(cls, maps: Sequence[Map], bottom: int, top: int = 0) -> Strip:
        """A strip of a picture's whole maps."""
        return cls(top, bottom, tuple(maps), (0,) * len(maps), tuple(scores.shape[2] for scores in maps))


def blend_weights(windows: Sequence[Span], length: int, overlap: int, cells: int) -> list[NDArray[np.float32]]:
    """Weights of each window in ``cells`` cells along ``length``; the weights of a cell sum to 1.

    Weights fall towards a window's edges, except at the picture's own edges: almost 0 in the quarter of the
    overlap next to the edge, where context is missing, then a smooth ramp (3t^2 - 2t^3) over half of the overlap.
    """
    centres = (np.arange(cells) + 0.5) * (length / cells)
    raw = []
    for start, stop in windows:
        inside = (centres >= start) & (centres < stop)
        before = _ramp(centres - start, overlap if start > 0 else 0)
        after = _ramp(stop - centres, overlap if stop < length else 0)
        weight = before * after
        raw.append(np.where(inside, np.maximum(weight, TINY), 0.0))
    total = np.sum(raw, axis=0)
    return [(weight / total).astype(np.float32) for weight in raw]


def _ramp(distance: NDArray[np.floating[Any]], overlap: int) -> NDArray[np.floating[Any]]:
    if overlap == 0:
        return np.ones_like(distance)
    t = np.clip((distance / overlap - 0.25) * 2, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


@dataclass(frozen=True)
class View:
    """Geometry of one view of the picture (a scale, mirrored or not)."""

    sizes: tuple[int, int]  # height and width of the whole picture's map
    ratio: Fraction  # pixels of the view per pixel of the picture
    stride: int = STRIDE  # pixels of the view per cell of the map

    def cells(self, pixels: int) -> int:
        """Cell of the map where a window begins that starts at ``pixels``."""
        return int(pixels * self.ratio / self.stride)


def view_of(size: tuple[int, int], scale: float, inner: float = 1.0, stride: int = STRIDE) -> View:
    """The view of a picture at a scale, for a network that scales its (first) input by ``inner``."""
    seen = [max(1, round(side * scale)) for side in size]
    height, width = seen if inner == 1 else [scaled(side, inner) for side in seen]
    ratio = Fraction(scale).limit_denominator(1000) * Fraction(inner).limit_denominator(1000)
    return View((ceil(height / stride), ceil(width / stride)), ratio, stride)


def blended_strips(
    tiling: Tiling,
    views: Sequence[View],
    read: Read,
    score: Callable[[Pixels], list[Map]],
    start_row: int = 0,
    each_window: Callable[[], None] | None = None,
) -> Iterator[Strip]:
    """Strips of rows, each given as soon as no later window changes it; a single window is one strip.

    ``score`` maps a window's pixels HxWxC, which ``read`` returns, to a map 1xKxhxw per view. Windows above
    ``start_row`` (of a resumed run) are not read.
    """
    height, width = tiling.size
    if start_row >= height:
        return
    if tiling.windows == 1:
        maps = score(read(0, height, 0, width))
        if each_window is not None:
            each_window()
        yield Strip.whole(maps, height, start_row)
        return
    shares = [
        (
            blend_weights(tiling.rows, tiling.size[0], tiling.overlap, view.sizes[0]),
            blend_weights(tiling.columns, tiling.size[1], tiling.overlap, view.sizes[1]),
        )
        for view in views
    ]
    # A row of the picture reads scores up to a cell and a half away.
    reach = max(ceil(1.5 * view.stride / view.ratio) for view in views)
    needed = [i for i, (_, stop) in enumerate(tiling.rows) if stop > start_row - reach]
    skipped = len(tiling.rows) - len(needed)
    top = start_row
    held: list[Map] = []
    firsts = [view.cells(tiling.rows[skipped][0]) for view in views]
    for index in needed:
        above, below = tiling.rows[index]
        for column, (left, right) in enumerate(tiling.columns):
            maps = score(read(above, below, left, right))
            if not held:
                held = [
                    np.zeros((*x.shape[:2], 0, view.sizes[1]), x.dtype)
                    for x, view in zip(maps, views, strict=True)
                ]
            for i, view in enumerate(views):
                vertical, horizontal = shares[i][0][index], shares[i][1][column]
                place = (view.cells(above), view.cells(left))
                missing = min(place[0] + maps[i].shape[2], view.sizes[0]) - firsts[i] - held[i].shape[2]
                if missing > 0:
                    held[i] = np.pad(held[i], ((0, 0), (0, 0), (0, missing), (0, 0)))
                _add(held[i], maps[i], firsts[i], place, (vertical, horizontal))
            if each_window is not None:
                each_window()
        last = index == len(tiling.rows) - 1
        bottom = tiling.size[0] if last else max(top, tiling.rows[index + 1][0] - reach)
        if bottom > top:
            sources = tuple(view.sizes[0] for view in views)
            yield Strip(top, bottom, tuple(held), tuple(firsts), sources)
            top = bottom
        if not last:
            keep = [max(0, view.cells(max(0, top - reach)) - 1) for view in views]
            held = [
                x[:, :, max(0, row - first) :].copy() for x, row, first in zip(held, keep, firsts, strict=True)
            ]
            firsts = [max(row, first) for row, first in zip(keep, firsts, strict=True)]


def join_strips(parts: Iterable[Strip]) -> Strip:
    """All strips of a picture as one. Rows in two strips are taken from the later one, where they are final."""
    rows: list[list[Map]] = []
    last: Strip | None = None
    for strip in parts:
        if last is not None:
            for view, first in enumerate(strip.firsts):
                rows[view][-1] = rows[view][-1][:, :, : first - last.firsts[view]]
        rows = [[] for _ in strip.maps] if last is None else rows
        for view, scores in enumerate(strip.maps):
            rows[view].append(scores)
        last = strip
    if last is None:
        raise ValueError("expected at least one strip")
    maps = tuple(np.concatenate(parts_of_view, axis=2) for parts_of_view in rows)
    return Strip(0, last.bottom, maps, (0,) * len(maps), last.sources)


def _add(
    held: Map,
    scores: Map,
    first: int,
    place: tuple[int, int],
    shares: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Add a window's weighted scores in place; odd scales may lose a last row or column to rounding."""
    height = min(scores.shape[2], len(shares[0]) - place[0])
    width = min(scores.shape[3], len(shares[1]) - place[1])
    vertical = shares[0][place[0] : place[0] + height]
    horizontal = shares[1][place[1] : place[1] + width]
    # Rows above the held ones are final already: a resumed run reads whole windows again.
    cut = max(0, first - place[0])
    part = scores[:, :, cut:height, :width] * (vertical[cut:, None] * horizontal)
    row = place[0] + cut - first
    held[:, :, row : row + part.shape[2], place[1] : place[1] + width] += part
