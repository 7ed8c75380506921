"""Which windows a picture is seen in, from what the network needs (measured by inference.field). No torch."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, inf
from typing import Literal, Protocol

from refineseg.errors import InputError
from refineseg.inference.tiles.blending import GRID, Plan, make_plan

BUDGET = 768 << 20  # bytes that one window's activations may take: the whole process then stays within 2 GB
GLOBAL_OVERLAP = 128  # pixels that windows share of a network whose every output sees the whole window
LARGEST = 2048  # side of automatic tiles as seen: beyond it the overlap is a small share of the work anyway
INPUT = 32  # bytes by pixel of a window before it is scaled: as read, as numbers with a point, and their copy


class Needs(Protocol):
    """What is known of a network, or measured on first use."""

    @property
    def input_scales(self) -> Sequence[float]:
        """Scales at which the network takes its input; its map has the first."""

    @property
    def overlap(self) -> int:
        """Pixels that windows share at scale 1."""

    @property
    def bytes_per_pixel(self) -> float:
        """Memory of the activations by pixel of a window."""


def needed_overlap(radius: int) -> int:
    """Windows overlap by two radii: a pixel is within the radius of one window's edge or of its neighbour's."""
    return max(GRID, ceil(2 * radius / GRID) * GRID)


def largest_tile(per_pixel: float, overlap: int, budget: float = BUDGET, largest: int = LARGEST) -> int:
    """Side of the square window that the budget allows, a multiple of 32; never too small to go forward."""
    side = int((budget / per_pixel) ** 0.5) // GRID * GRID if per_pixel else largest
    return max(min(side, largest), overlap + GRID)


def fits(size: tuple[int, int], per_pixel: float, budget: float = BUDGET) -> bool:
    """Whether a whole picture's activations stay within the budget."""
    return size[0] * size[1] * per_pixel <= budget < inf


def plan_windows(
    size: tuple[int, int],
    scales: Sequence[float],
    tile: int | Literal["auto"],
    needs: Needs,
) -> Plan:
    """The windows of a picture seen at ``scales``; InputError where tiles are too small for the overlap."""
    # Larger views cost more and reach less far, smaller ones the other way round.
    seen = max(scales)
    costs = needs.bytes_per_pixel * seen**2 + INPUT if tile == "auto" else 0.0
    if tile == "auto" and fits(size, costs):
        return make_plan(size, max(size), 0)
    overlap = needed_overlap(round(needs.overlap / 2 / min(1.0, *scales)))
    side = largest_tile(costs, overlap, largest=int(LARGEST / min(1.0, seen))) if tile == "auto" else tile
    if side < 1:
        raise InputError(f"expected --tile auto or a number of pixels such as 1024, got {side}")
    return make_plan(size, side, overlap, [scale * needs.input_scales[0] for scale in scales])
