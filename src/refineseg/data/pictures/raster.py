"""Rasters in files, for temporary results and pictures too large for memory.

Rows are read and written by position instead of memory-mapped, which bounds resident memory.
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
    """A uint8 raster of a height and width in a file, in rows, after ``offset`` bytes."""

    path: Path
    size: tuple[int, int]
    channels: int = 1
    offset: int = 0
    _rows: tuple[int, int, UInt8] | None = None

    def create(self) -> Raster:
        """Create the file at full length, sparse if possible."""
        with self.path.open("wb") as stream:
            stream.truncate(self.offset + self.size[0] * self.size[1] * self.channels)
        return self

    def write(self, top: int, rows: UInt8) -> None:
        """Write rows hxW(xC) at row ``top``."""
        with self.path.open("r+b") as stream:
            stream.seek(self.offset + top * self.size[1] * self.channels)
            stream.write(np.ascontiguousarray(rows).data)

    def rows(self, top: int, bottom: int) -> UInt8:
        """Rows hxWxC, or hxW for one channel. InputError if the file is too short."""
        width = self.size[1] * self.channels
        with self.path.open("rb") as stream:
            stream.seek(self.offset + top * width)
            data = np.fromfile(stream, np.uint8, (bottom - top) * width)
        if data.size != (bottom - top) * width:
            raise InputError(f"expected {self.size[0]} rows in {self.path}, it ends before row {bottom}: cut off?")
        shape = (bottom - top, self.size[1], self.channels)
        return data.reshape(shape[:2] if self.channels == 1 else shape)

    def strips(self, rows: int = 256) -> Iterator[tuple[int, UInt8]]:
        """First row index and rows of each strip, from top to bottom."""
        for top in range(0, self.size[0], rows):
            yield top, self.rows(top, min(top + rows, self.size[0]))

    def read(self, top: int, bottom: int, left: int, right: int) -> UInt8:
        """A window, HxWxC; the rows of the last window are cached."""
        if self._rows is None or self._rows[:2] != (top, bottom):
            self._rows = None  # freed before the next are read
            self._rows = (top, bottom, self.rows(top, bottom))
        return self._rows[2][:, left:right]
