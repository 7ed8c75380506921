"""Which windows a picture is seen in, from the memory and the context that the network needs. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal

from refineseg.errors import InputError
from refineseg.inference.runners import Runner
from refineseg.inference.tiles.blending import GRID, Plan, make_plan

BUDGET = 768 << 20  # bytes that one window's activations may take: the whole process then stays within 2 GB
GLOBAL_OVERLAP = 128  # pixels that windows share of a network whose every output sees the whole window
LARGEST = 2048  # side of automatic tiles as seen: beyond it the overlap is a small share of the work anyway
INPUT = 32  # bytes per pixel of a window before it is scaled: as read, as float32, and a copy


def needed_overlap(radius: int) -> int:
    """Windows overlap by two radii: a pixel is within the radius of one window's edge or of its neighbour's."""
    return max(GRID, ceil(2 * radius / GRID) * GRID)


def largest_tile(per_pixel: float, overlap: int, budget: float = BUDGET, largest: int = LARGEST) -> int:
    """Side of the square window that the budget allows, a multiple of 32; never too small to go forward."""
    side = int((budget / per_pixel) ** 0.5) // GRID * GRID if per_pixel else largest
    return max(min(side, largest), overlap + GRID)


def plan_windows(
    size: tuple[int, int],
    scales: Sequence[float],
    tile: int | Literal["auto"],
    runner: Runner,
) -> Plan:
    """The windows of a picture seen at ``scales``; InputError where tiles are too small for the overlap."""
    # Larger views cost more and reach less far, smaller ones the other way round.
    seen = max(scales)
    costs = runner.bytes_per_pixel * seen**2 + INPUT if tile == "auto" else 0.0
    if tile == "auto" and size[0] * size[1] * costs <= BUDGET:
        return make_plan(size, max(size), 0)
    overlap = needed_overlap(round(runner.overlap / 2 / min(1.0, *scales)))
    side = largest_tile(costs, overlap, largest=int(LARGEST / min(1.0, seen))) if tile == "auto" else tile
    if side < 1:
        raise InputError(f"expected --tile auto or a number of pixels such as 1024, got {side}")
    return make_plan(size, side, overlap, [scale * runner.input_scales[0] for scale in scales])
