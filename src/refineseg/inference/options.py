"""How scores are made: views of the picture, and strips of its rows. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from refineseg.errors import InputError

STRIP = 64  # rows given at a time, so that the full-size score map never exists
STRIP_BYTES = 64 << 20  # fewer rows of wide pictures, so that a strip's scores stay below this
Tile = int | Literal["auto"] | None


@dataclass(frozen=True)
class PredictOptions:
    """How scores are made.

    Attributes:
        scales: scales at which the picture is seen; the scores are averaged.
        flip: whether it is also seen mirrored.
        probabilities: whether the class probabilities are kept in the result.
        channels: the files' channels that are taken, counted from 1, in this order: three for a model of RGB (or
            one for grey). Without them the files' own marks of colours count.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    probabilities: bool = False
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale <= 8 for scale in self.scales):
            raise InputError(f"expected scales above 0 and up to 8, such as 0.75,1.0,1.25, got {self.scales}")
        if self.channels is not None and (not self.channels or min(self.channels) < 1):
            raise InputError(f"expected --channels as numbers from 1 on, such as 3,2,1, got {self.channels}")

    @property
    def choice(self) -> tuple[int, ...] | None:
        """``channels`` counted from 0."""
        return None if self.channels is None else tuple(number - 1 for number in self.channels)


def views_of(options: PredictOptions) -> list[tuple[float, bool]]:
    """Scale and whether mirrored, of each view."""
    return [
        (scale, mirrored) for scale in options.scales for mirrored in ((False, True) if options.flip else (False,))
    ]


def row_ranges(top: int, bottom: int, classes: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows ``top`` to ``bottom`` in parts of which the scores are small."""
    rows = max(1, min(STRIP, STRIP_BYTES // (4 * classes * width)))
    for first in range(top, bottom, rows):
        yield first, min(first + rows, bottom)
