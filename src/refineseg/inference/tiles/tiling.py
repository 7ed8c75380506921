"""The windows of a large picture, by the memory and context that the network needs. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm

from refineseg.errors import InputError
from refineseg.inference.options import Tile
from refineseg.inference.runners import Runner

GRID = 32  # the coarsest stride of the backbones
STRIDE = 4  # stride of a RefineNet's score maps
BUDGET = 768 << 20  # bytes for a window's activations: keeps the whole process below 2 GB
# Overlaps in pixels where every output depends on the whole window: in a DPT, and in a RefineNet with image
# pooling.
GLOBAL_OVERLAP, POOLED_OVERLAP = 128, 384
LARGEST = 2048  # largest side of automatic tiles; beyond it the overlap's cost hardly matters
INPUT = 32  # bytes per pixel of a window before scaling: as read, as float32, and a copy
Span = tuple[int, int]  # first pixel and the one after the last, along one axis


@dataclass(frozen=True)
class Tiling:
    """Overlapping windows that cover a picture."""

    size: tuple[int, int]  # height and width of the picture
    rows: tuple[Span, ...]  # spans of the rows of windows; each overlaps the next
    columns: tuple[Span, ...]  # spans of the columns of windows
    overlap: int  # least number of pixels shared by neighbours

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self.rows) * len(self.columns)


def grid_step(ratios: Sequence[float]) -> int:
    """Smallest step of window starts, in pixels, that is a multiple of 32 at every scale."""
    fractions = [Fraction(ratio).limit_denominator(1000) for ratio in ratios]
    return GRID * lcm(*(fraction.denominator for fraction in fractions))


def spans(length: int, tile: int, overlap: int, step: int = GRID) -> tuple[Span, ...]:
    """Windows that cover 0 to ``length``; each shares at least ``overlap`` pixels with the next.

    Starts are multiples of ``step``. Windows are ``tile`` long, rounded up to a multiple of ``step``; the last is
    shifted inwards and up to ``step - 1`` longer, to include the remainder.

    Raises InputError if the tile is too small for the overlap.
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


def make_tiling(size: tuple[int, int], tile: int, overlap: int, ratios: Sequence[float] = (1.0,)) -> Tiling:
    """Windows of ``tile`` pixels for the scales ``ratios``.

    Raises InputError if tiles are too small for the overlap or for the steps that the scales need.
    """
    if max(size) <= tile:
        return Tiling(size, ((0, size[0]),), ((0, size[1]),), overlap)
    step = grid_step(ratios)
    if step > GRID and 4 * step > tile:  # rounding up to steps must not enlarge windows much
        raise InputError(
            f"expected scales such as 0.75 or 0.8 with tiles of {tile}: starts of windows would be multiples of "
            f"{step}; use rounder scales or tiles of at least {4 * step}"
        )
    return Tiling(size, spans(size[0], tile, overlap, step), spans(size[1], tile, overlap, step), overlap)


def needed_overlap(radius: int) -> int:
    """Twice the radius, rounded up to 32, so that no pixel is within the radius of both windows' edges."""
    return max(GRID, ceil(2 * radius / GRID) * GRID)


def largest_tile(per_pixel: float, overlap: int, budget: float = BUDGET, largest: int = LARGEST) -> int:
    """Side of the largest square window within the budget, a multiple of 32 and larger than the overlap."""
    side = int((budget / per_pixel) ** 0.5) // GRID * GRID if per_pixel else largest
    return max(min(side, largest), overlap + GRID)


def choose_tiling(size: tuple[int, int], scales: Sequence[float], tile: Tile, runner: Runner) -> Tiling:
    """The windows of a picture for ``scales``; a single one if ``tile`` is None.

    Raises InputError if tiles are too small for the overlap.
    """
    if tile is None:
        return make_tiling(size, max(size), 0)
    # Larger views need more memory and less overlap; smaller ones the opposite.
    seen = max(scales)
    costs = runner.bytes_per_pixel * seen**2 + INPUT if tile == "auto" else 0.0
    if tile == "auto" and size[0] * size[1] * costs <= BUDGET:
        return make_tiling(size, max(size), 0)
    overlap = needed_overlap(round(runner.overlap / 2 / min(1.0, *scales)))
    side = largest_tile(costs, overlap, largest=int(LARGEST / min(1.0, seen))) if tile == "auto" else tile
    if side < 1:
        raise InputError(f"expected --tile auto or a number of pixels such as 1024, got {side}")
    return make_tiling(size, side, overlap, [scale * runner.config.input_scales[0] for scale in scales])
