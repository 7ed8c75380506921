"""Options of a prediction: the views of a picture, and the strips of rows it is made in. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from refineseg.errors import InputError

STRIP = 64  # rows finished at a time, so that the full-size score map never exists
STRIP_BYTES = 64 << 20  # most bytes of a strip's scores; wide pictures take fewer rows at a time
Tile = int | Literal["auto"] | None


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction."""

    scales: tuple[float, ...] = (1.0,)  # scales of the picture over which scores are averaged
    flip: bool = False  # whether scores are also averaged over the mirrored picture
    probabilities: bool = False  # whether the result keeps class probabilities
    # channels of the file to use, counted from 1, in this order: three for a model of RGB (or one for grey). None
    # goes by the colour marks in the file.
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
    """Scale of each view, and whether it is mirrored."""
    return [
        (scale, mirrored) for scale in options.scales for mirrored in ((False, True) if options.flip else (False,))
    ]


def row_ranges(top: int, bottom: int, classes: int, width: int) -> Iterator[tuple[int, int]]:
    """Rows ``top`` to ``bottom`` in strips of at most STRIP rows and STRIP_BYTES of scores."""
    rows = max(1, min(STRIP, STRIP_BYTES // (4 * classes * width)))
    for first in range(top, bottom, rows):
        yield first, min(first + rows, bottom)
