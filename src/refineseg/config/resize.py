"""The size at which a network wants to see a picture: the resize rules of published preprocessors. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

from refineseg.config.settings import Config, require


@dataclass(frozen=True)
class Resize(Config):
    """How a picture is resized before the network sees it.

    Attributes:
        height, width: the size in pixels that is aimed at.
        fit: ``exact`` takes that size whatever the picture's shape; the others keep the ratio of the sides:
            ``least`` changes the picture as little as possible to meet one of the two, ``cover`` makes both sides
            at least as long, ``inside`` at most as long.
        multiple: both sides are rounded to a multiple of it.
        filter: ``bilinear`` or ``bicubic``, smoothed where the picture gets smaller.
    """

    height: int
    width: int
    fit: Literal["exact", "least", "cover", "inside"] = "least"
    multiple: int = 1
    filter: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        require(1 <= self.height <= 8192, "a height of 1 to 8192 to resize to", self.height)
        require(1 <= self.width <= 8192, "a width of 1 to 8192 to resize to", self.width)
        require(1 <= self.multiple <= 1024, "a multiple of 1 to 1024 to resize to", self.multiple)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which a picture of ``height`` x ``width`` is seen."""
        tall, wide = self.height / height, self.width / width
        if self.fit == "least":
            tall = wide = wide if abs(1 - wide) < abs(1 - tall) else tall
        elif self.fit == "cover":
            tall = wide = max(tall, wide)
        elif self.fit == "inside":
            tall = wide = min(tall, wide)
        return self._rounded(tall * height, self.height), self._rounded(wide * width, self.width)

    def _rounded(self, length: float, aim: int) -> int:
        """A length in pixels as a multiple, at least one; rounded the other way where it would miss the fit."""
        count = round(length / self.multiple)
        if self.fit == "cover" and count * self.multiple < aim:
            count = ceil(length / self.multiple)
        if self.fit == "inside" and count * self.multiple > aim:
            count = floor(length / self.multiple)
        return max(1, count) * self.multiple
