"""Large pictures in windows: which windows, how their scores are blended, and strips of rows as they get ready.

Scores are blended before they are upsampled, on the grid of the network's output (a quarter of the picture's
rows and columns). Blending and bilinear upsampling are both linear, so wherever the windows agree with the whole
picture the result is that of the whole picture, bit for bit but for rounding. Starts of windows are multiples of
32 pixels, so that the grids of all strides lie the same in every window and in the whole.

Memory: one row of windows' scores (classes x tile/4 x width/4 numbers), one window's activations, one strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Pixels
from refineseg.config import scaled
from refineseg.errors import InputError
from refineseg.labels import UInt8

GRID = 32  # the coarsest stride of the backbones
STRIDE = 4  # of the scores of a RefineNet
TINY = 1e-6  # weight at the very edge of a window, so that no pixel is without
Span = tuple[int, int]  # first pixel and the one after the last, along one axis
Map = NDArray[np.float32]  # scores, 1xKxhxw
Read = Callable[[int, int, int, int], Pixels]  # top, bottom, left, right -> that part of the picture, HxWxC


@dataclass(frozen=True)
class Plan:
    """How a picture is cut.

    Attributes:
        size: height and width of the picture.
        rows: spans of the rows of windows; each overlaps the next.
        columns: spans of the columns of windows.
        overlap: pixels that neighbours share, at least.
    """

    size: tuple[int, int]
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap: int

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self.rows) * len(self.columns)


@dataclass(frozen=True)
class Strip:
    """Rows of the picture whose scores no later window changes.

    Attributes:
        top: first row.
        bottom: the row after the last.
        maps: blended scores, one per view, BxKxhxw: rows ``firsts[i]`` and on of the view's whole map.
        firsts: the row of the whole map that each begins with.
        sources: rows of each whole map.
    """

    top: int
    bottom: int
    maps: tuple[Map, ...]
    firsts: tuple[int, ...]
    sources: tuple[int, ...]


def grid_step(ratios: Sequence[float]) -> int:
    """Starts of windows must be multiples of it, so that a start at every scale is a multiple of 32."""
    fractions = [Fraction(ratio).limit_denominator(1000) for ratio in ratios]
    return GRID * lcm(*(fraction.denominator for fraction in fractions))


def spans(length: int, tile: int, overlap: int, step: int = GRID) -> tuple[Span, ...]:
    """Windows along one axis: they cover 0 to ``length`` and each shares ``overlap`` pixels or more with the next.

    Starts are multiples of ``step``. All windows are ``tile`` long (rounded up to a multiple of ``step``); the
    last is shifted inwards and takes the remainder too, so it is up to ``step - 1`` longer. A length that one
    window holds is one window.

    Raises:
        InputError: the overlap leaves no room to go forward.
    """
    tile = ceil(tile / step) * step
    forward = (tile - overlap) // step * step
    if length < tile + step:
        return ((0, length),)
    if forward < step:
        raise InputError(
            f"expected tiles at least {ceil(overlap / step) * step + step} pixels wide for an overlap of "
            f"{overlap} and starts in steps of {step}, got {tile}: use larger tiles, or fewer or rounder scales"
        )
    last = (length - tile) // step * step
    starts = [*range(0, last, forward), last]
    return tuple((start, length if start == last else start + tile) for start in starts)


def make_plan(size: tuple[int, int], tile: int, overlap: int, ratios: Sequence[float] = (1.0,)) -> Plan:
    """Windows of ``tile`` pixels over a picture; ``ratios`` are the scales at which windows are seen.

    Raises InputError for tiles too small for the overlap, or for the steps that odd scales ask for.
    """
    if max(size) <= tile:
        return Plan(size, ((0, size[0]),), ((0, size[1]),), overlap)
    step = grid_step(ratios)
    if step > GRID and 4 * step > tile:  # windows are rounded up to steps: they must not grow by much
        raise InputError(
            f"expected scales such as 0.75 or 0.8 with tiles of {tile}: starts of windows would be multiples of "
            f"{step}; use rounder scales or tiles of at least {4 * step}"
        )
    return Plan(size, spans(size[0], tile, overlap, step), spans(size[1], tile, overlap, step), overlap)


def blend_weights(windows: Sequence[Span], length: int, overlap: int, cells: int) -> list[NDArray[np.float32]]:
    """The share of each window in each of ``cells`` cells that divide ``length``; shares of a cell sum to 1.

    A window's share falls to nothing towards its edges, except at the picture's own. The quarter of the overlap
    that is next to an edge counts as good as nothing, the half in the middle is a smooth ramp (3t^2 - 2t^3):
    the scores next to an edge are the ones that the missing context harms.
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
    """One view of the picture (a scale, mirrored or not), as far as tiling must know it.

    Attributes:
        sizes: height and width of its map of the whole picture.
        ratio: pixels of the view per pixel of the picture.
        stride: pixels of the view that make a cell of the map.
    """

    sizes: tuple[int, int]
    ratio: Fraction
    stride: int = STRIDE

    def cells(self, pixels: int) -> int:
        """Where a window's start, in pixels, lies on the map."""
        return int(pixels * self.ratio / self.stride)


def view_of(size: tuple[int, int], scale: float, inner: float = 1.0, stride: int = STRIDE) -> View:
    """The view at a scale of a picture, by a network that scales its (first) input by ``inner``."""
    seen = [max(1, round(side * scale)) for side in size]
    height, width = seen if inner == 1 else [scaled(side, inner) for side in seen]
    ratio = Fraction(scale).limit_denominator(1000) * Fraction(inner).limit_denominator(1000)
    return View((ceil(height / stride), ceil(width / stride)), ratio, stride)


def blended_strips(
    plan: Plan,
    views: Sequence[View],
    read: Read,
    score: Callable[[Pixels], list[Map]],
    start_row: int = 0,
    each_window: Callable[[], None] | None = None,
) -> Iterator[Strip]:
    """Go through the windows row by row and give strips of rows as soon as they are final.

    Args:
        plan: the windows.
        views: views in the order of ``score``'s results.
        read: gives a window's pixels.
        score: pixels HxWxC to a map 1xKxhxw per view.
        start_row: rows above it are not needed, and windows that end above it are not read (a resumed run).
        each_window: called after each window.
    """
    shares = [
        (
            blend_weights(plan.rows, plan.size[0], plan.overlap, view.sizes[0]),
            blend_weights(plan.columns, plan.size[1], plan.overlap, view.sizes[1]),
        )
        for view in views
    ]
    # A row of the picture reads scores up to a cell and a half away.
    reach = max(ceil(1.5 * view.stride / view.ratio) for view in views)
    needed = [i for i, (_, stop) in enumerate(plan.rows) if stop > start_row - reach]
    if start_row >= plan.size[0]:
        return
    skipped = len(plan.rows) - len(needed)
    top = start_row
    held: list[Map] = []
    firsts = [view.cells(plan.rows[skipped][0]) for view in views]
    for index in needed:
        above, below = plan.rows[index]
        for column, (left, right) in enumerate(plan.columns):
            maps = score(read(above, below, left, right))
            if not held:
                held = [
                    np.zeros((*x.shape[:2], 0, view.sizes[1]), x.dtype)
                    for x, view in zip(maps, views, strict=True)
                ]
            for i, view in enumerate(views):
                vertical, horizontal = shares[i][0][index], shares[i][1][column]
                place = (view.cells(above), view.cells(left))
                held[i] = _grown(held[i], min(place[0] + maps[i].shape[2], view.sizes[0]) - firsts[i])
                _add(held[i], maps[i], firsts[i], place, (vertical, horizontal))
            if each_window is not None:
                each_window()
        last = index == len(plan.rows) - 1
        bottom = plan.size[0] if last else max(top, plan.rows[index + 1][0] - reach)
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


def joined(parts: Iterable[Strip]) -> Strip:
    """All strips of a picture as one: of the rows that two have, those of the later, which no window changes."""
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


def _grown(held: Map, rows: int) -> Map:
    """With rows of zeros below, up to ``rows`` in all."""
    if rows <= held.shape[2]:
        return held
    return np.pad(held, ((0, 0), (0, 0), (0, rows - held.shape[2]), (0, 0)))


def _add(
    held: Map,
    scores: Map,
    first: int,
    place: tuple[int, int],
    shares: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Add a window's weighted scores where they belong; rounding of odd scales may cost a last row or column."""
    height = min(scores.shape[2], len(shares[0]) - place[0])
    width = min(scores.shape[3], len(shares[1]) - place[1])
    vertical = shares[0][place[0] : place[0] + height]
    horizontal = shares[1][place[1] : place[1] + width]
    # Rows above what is held are finished already (a resumed run reads whole windows again).
    cut = max(0, first - place[0])
    part = scores[:, :, cut:height, :width] * (vertical[cut:, None] * horizontal)
    row = place[0] + cut - first
    held[:, :, row : row + part.shape[2], place[1] : place[1] + width] += part


def put_together(
    strips: Iterable[tuple[int, UInt8, NDArray[np.float16] | None]], size: tuple[int, int], classes: int | None
) -> tuple[UInt8, NDArray[np.float16] | None]:
    """Labels HxW and, for a number of ``classes``, probabilities KxHxW of a whole picture from its strips."""
    labels = np.empty(size, np.uint8)
    probabilities = None if classes is None else np.empty((classes, *size), np.float16)
    for top, part, scores in strips:
        labels[top : top + len(part)] = part
        if probabilities is not None and scores is not None:
            probabilities[:, top : top + len(part)] = scores
    return labels, probabilities
