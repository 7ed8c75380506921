"""Options of a prediction: the views of a picture, and the strips of rows it is made in. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import index
from typing import Any, Literal, TypeVar

from refineseg.errors import InputError

STRIP = 64  # rows finished at a time, so that the full-size score map never exists
STRIP_BYTES = 64 << 20  # most bytes of a strip's scores; wide pictures take fewer rows at a time
Number = TypeVar("Number", int, float)
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


def scales_of(given: Any) -> tuple[float, ...]:
    """A list of scales; InputError if it is not a list of numbers."""
    return _numbers(given, float, "scales such as [0.75, 1.0, 1.25]")


def channels_of(given: Any) -> tuple[int, ...] | None:
    """A list of channels, or None; InputError if it is not a list of whole numbers."""
    return None if given is None else _numbers(given, index, "channels such as [3, 2, 1]")


def _numbers(given: Any, number: Callable[[Any], Number], what: str) -> tuple[Number, ...]:
    try:
        if not isinstance(given, str):
            return tuple(number(item) for item in given)
    except (TypeError, ValueError):
        pass
    raise InputError(f"expected a list of {what}, got {given!r:.100}")


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
