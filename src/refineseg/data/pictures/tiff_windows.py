"""Windows of one page of a TIFF, decoded tile by tile or strip by strip with tifffile."""

from __future__ import annotations

import lzma
import zlib
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Pixels
from refineseg.errors import InputError, MissingExtraError
from refineseg.system.text import reason_of

CACHE = 192 << 20  # bytes of decoded tiles or strips
UNPACKERS: dict[int, Callable[[], Any]] = {  # by the tag Compression
    8: zlib.decompressobj,
    32946: zlib.decompressobj,
    34925: lzma.LZMADecompressor,
}
if find_spec("compression") is not None:  # from Python 3.14 on
    UNPACKERS |= dict.fromkeys((34926, 50000), import_module("compression.zstd").ZstdDecompressor)


class PageWindows:
    """A page of a TIFF; tiles or strips are decoded when a window needs them."""

    def __init__(self, name: str, page: Any, fill: float = 0) -> None:
        self.name, self.page, self.fill = name, page, fill
        self.size = (int(page.imagelength), int(page.imagewidth))
        self.samples = int(page.samplesperpixel)
        self.dtype: np.dtype[Any] = np.dtype(page.dtype).newbyteorder("=")
        self.separate = int(page.planarconfig) == 2 and self.samples > 1
        whole = (min(page.rowsperstrip, self.size[0]), self.size[1])
        self.step = (page.tilelength, page.tilewidth) if page.is_tiled else whole
        self.across, self.down = (
            -(-side // step) for side, step in zip(self.size[::-1], self.step[::-1], strict=True)
        )
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._held = 0
        self._rows: tuple[int, int, Pixels] | None = None

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """A window, HxWxS. InputError if a part cannot be decoded."""
        # Rows that lie one after the other are read as such: no part is decoded twice.
        if self.page.is_final and not self.separate and self.page.databytecounts[0]:
            if self._rows is None or self._rows[:2] != (top, bottom):
                self._rows = None  # freed before the next are read
                self._rows = (top, bottom, self._stored_rows(top, bottom))
            return self._rows[2][:, left:right]
        planes, depth = (self.samples, 1) if self.separate else (1, self.samples)
        window = np.full((bottom - top, right - left, self.samples), self.fill, self.dtype)
        height, width = self.step
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                y, x = row * height, column * width
                for plane in range(planes):
                    part = self._segment((plane * self.down + row) * self.across + column, depth)
                    if part is None:
                        continue
                    above, below = max(top, y), min(bottom, y + part.shape[0])
                    first, last = max(left, x), min(right, x + part.shape[1])
                    window[above - top : below - top, first - left : last - left, plane : plane + depth] = part[
                        above - y : below - y, first - x : last - x
                    ]
        return window

    def check_decodable(self) -> None:
        """InputError if the file is truncated or damaged at its start; MissingExtraError without its codec."""
        planes = self.samples if self.separate else 1
        if self.page.is_final:
            pixels = int(np.prod(self.size, dtype=object))
            end = self.page.dataoffsets[0] + pixels * self.samples * self.dtype.itemsize
            if end > self.page.parent.filehandle.size:
                raise InputError(f"expected {end:,} bytes of {self.name} by its header: cut off?")
            return
        parts, listed = planes * self.down * self.across, len(self.page.databytecounts)
        if listed < parts:
            raise InputError(
                f"expected {parts:,} tiles or strips in {self.name} by its header, it lists {listed:,}"
            )
        first = next((i for i, count in enumerate(self.page.databytecounts) if count), None)
        if first is not None:
            self._segment(first, 1 if self.separate else self.samples)

    def _stored_rows(self, top: int, bottom: int) -> Pixels:
        file = self.page.parent.filehandle
        count = (bottom - top) * self.size[1] * self.samples
        stored = self.dtype.newbyteorder(self.page.parent.byteorder)
        file.seek(self.page.dataoffsets[0] + top * self.size[1] * self.samples * self.dtype.itemsize)
        data = file.read(count * self.dtype.itemsize)
        if len(data) < count * self.dtype.itemsize:
            raise InputError(f"expected {self.size[0]} rows in {self.name}, it ends before row {bottom}: cut off?")
        return np.frombuffer(data, stored).astype(self.dtype, copy=False).reshape(bottom - top, self.size[1], -1)

    def _segment(self, index: int, depth: int) -> NDArray[Any] | None:
        """A tile or strip, hxwxS; None if the file lacks it (GDAL's sparse files)."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        page = self.page
        if index >= len(page.databytecounts) or not page.databytecounts[index]:
            return None
        try:
            file = page.parent.filehandle
            file.seek(page.dataoffsets[index])
            data = file.read(page.databytecounts[index])
            self._check_unpacked(data, depth)
            decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
            if decoded is None:
                return None
            part = np.asarray(decoded).reshape(*shape[1:3], depth)
        except Exception as error:  # tifffile raises its own, ValueError, IndexError, and its codecs' errors
            if "imagecodecs" in str(error):
                raise MissingExtraError("imagecodecs", "slide", f"decoding {self.name}") from error
            raise InputError(f"cannot read {self.name}, part {index}: {reason_of(error)}") from error
        self._cache[index] = part
        self._held += part.nbytes
        while self._held > CACHE and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].nbytes
        return part

    def _check_unpacked(self, data: bytes, depth: int) -> None:
        """ValueError for a decompression bomb or several streams, which tifffile accepts without imagecodecs.

        Of several streams only the first would be measured; zeros may follow.
        """
        make = UNPACKERS.get(int(self.page.compression))
        if make is None or find_spec("imagecodecs") is not None:
            return
        most, unpacker = self.step[0] * self.step[1] * depth * self.dtype.itemsize, make()
        if len(unpacker.decompress(data, most + 1)) > most:
            raise ValueError(f"expected at most {most:,} bytes in it, it unpacks to more")
        if unpacker.unused_data.strip(b"\0"):
            raise ValueError("expected one compressed stream in it, it holds more after the first")
