"""Resize rules of published preprocessors: the size of a network's input. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

from refineseg.config.settings import Config, require


@dataclass(frozen=True)
class Resize(Config):
    """The rule by which pictures are resized for a network."""

    # target size in pixels
    height: int
    width: int
    # ``exact`` takes the target size; the others keep the ratio of the sides: ``least`` changes the picture as
    # little as possible to meet one side, ``cover`` makes both sides at least as long, ``inside`` at most
    fit: Literal["exact", "least", "cover", "inside"] = "least"
    multiple: int = 1  # both sides are rounded to a multiple of it
    filter: Literal["bilinear", "bicubic"] = "bilinear"  # ``bilinear`` or ``bicubic``, with antialiasing

    def __post_init__(self) -> None:
        require(1 <= self.height <= 8192, "a height of 1 to 8192 to resize to", self.height)
        require(1 <= self.width <= 8192, "a width of 1 to 8192 to resize to", self.width)
        require(1 <= self.multiple <= 1024, "a multiple of 1 to 1024 to resize to", self.multiple)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a resized picture of ``height`` x ``width``."""
        tall, wide = self.height / height, self.width / width
        if self.fit == "least":
            tall = wide = wide if abs(1 - wide) < abs(1 - tall) else tall
        elif self.fit == "cover":
            tall = wide = max(tall, wide)
        elif self.fit == "inside":
            tall = wide = min(tall, wide)
        return self._rounded(tall * height, self.height), self._rounded(wide * width, self.width)

    def _rounded(self, length: float, aim: int) -> int:
        """A length in pixels rounded to a multiple, at least one; up for ``cover`` and down for ``inside``."""
        count = round(length / self.multiple)
        if self.fit == "cover" and count * self.multiple < aim:
            count = ceil(length / self.multiple)
        if self.fit == "inside" and count * self.multiple > aim:
            count = floor(length / self.multiple)
        return max(1, count) * self.multiple
