"""Resize rules of published preprocessors: the size of a network's input. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Annotated, Literal

from refineseg.config.settings import Config

Side = Annotated[int, "[1, 8192]"]


@dataclass(frozen=True)
class Resize(Config):
    """The rule by which pictures are resized for a network."""

    # target size in pixels
    height: Side
    width: Side
    # ``exact`` takes the target size; the others keep the ratio of the sides: ``least`` changes the picture as
    # little as possible to meet one side, ``cover`` makes both sides at least as long, ``inside`` at most
    fit: Literal["exact", "least", "cover", "inside"] = "least"
    multiple: Annotated[int, "[1, 1024]"] = 1  # both sides are rounded to a multiple of it
    filter: Literal["bilinear", "bicubic"] = "bilinear"  # with antialiasing

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
