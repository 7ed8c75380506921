"""Rasters in files, row after row: temporary results and pictures too large for memory.

Nothing is memory-mapped: rows are read and written by position, so that a process holds what it works on and no
more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refineseg.errors import InputError
from refineseg.labels import UInt8


@dataclass
class Raster:
    """A raster of uint8 in a file, row after row from ``offset`` on: written and read by rows.

    Attributes:
        path: the file.
        size: height and width.
        channels: numbers per pixel.
        offset: bytes before the first pixel.
    """

    path: Path
    size: tuple[int, int]
    channels: int = 1
    offset: int = 0
    _rows: tuple[int, int, UInt8] | None = None

    def create(self) -> Raster:
        """Make the file at its full length, sparse where the file system can."""
        with self.path.open("wb") as stream:
            stream.truncate(self.offset + self.size[0] * self.size[1] * self.channels)
        return self

    def write(self, top: int, rows: UInt8) -> None:
        """Put rows hxW(xC) at row ``top``."""
        with self.path.open("r+b") as stream:
            stream.seek(self.offset + top * self.size[1] * self.channels)
            stream.write(np.ascontiguousarray(rows).data)

    def rows(self, top: int, bottom: int) -> UInt8:
        """Whole rows, hxWxC, or hxW of one channel. InputError where the file ends before them."""
        width = self.size[1] * self.channels
        with self.path.open("rb") as stream:
            stream.seek(self.offset + top * width)
            data = np.fromfile(stream, np.uint8, (bottom - top) * width)
        if data.size != (bottom - top) * width:
            raise InputError(f"expected {self.size[0]} rows in {self.path}, it ends before row {bottom}: cut off?")
        shape = (bottom - top, self.size[1], self.channels)
        return data.reshape(shape[:2] if self.channels == 1 else shape)

    def strips(self, rows: int = 256) -> Iterator[tuple[int, UInt8]]:
        """All of it from top to bottom: first row and rows."""
        for top in range(0, self.size[0], rows):
            yield top, self.rows(top, min(top + rows, self.size[0]))

    def read(self, top: int, bottom: int, left: int, right: int) -> UInt8:
        """A window, HxWxC; the rows of the last window are kept, since the next has them too."""
        if self._rows is None or self._rows[:2] != (top, bottom):
            self._rows = None  # freed before the next are read
            self._rows = (top, bottom, self.rows(top, bottom))
        return self._rows[2][:, left:right]
