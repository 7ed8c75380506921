"""Windows of pictures on disk, of any size: TIFF by its own tiles and strips, others decoded once.

Nothing is memory-mapped: rows are read and written by position, so that a process holds what it works on and no
more. Whoever reads windows row by row reads every part of the file about once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.channels import Channels, Pixels
from refineseg.data.images import check_regular, read_image
from refineseg.errors import InputError
from refineseg.inference.tiles.geotiff import Geo
from refineseg.labels import UInt8

LIMIT = 1 << 30  # pixels of a PNG, JPEG ...: Pillow decodes them as a whole, 3 to 4 bytes a pixel
IN_MEMORY = 256 << 20  # bytes of decoded pixels that are kept in memory; more go to a temporary file
_pillow_limit = Lock()


class Picture(Protocol):
    """A picture that can be read by windows.

    Attributes:
        size: height and width.
        geo: where it lies on the map; empty for most.
    """

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    @property
    def geo(self) -> Geo:
        """Tags."""
        ...

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """That part of the picture, HxWx3 uint8 RGB or HxWxC raw values."""
        ...


@dataclass
class Raw:
    """A raster of uint8 in a file, row after row from ``offset`` on: written and read by rows.

    Attributes:
        path: the file.
        size: height and width.
        channels: numbers per pixel.
        offset: bytes before the first pixel.
        geo: where it lies on the map.
    """

    path: Path
    size: tuple[int, int]
    channels: int = 1
    offset: int = 0
    geo: Geo = field(default_factory=Geo)
    _rows: tuple[int, int, UInt8] | None = None

    def create(self) -> Raw:
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
        """A window, HxWx3; the rows of the last window are kept, since the next has them too."""
        if self._rows is None or self._rows[:2] != (top, bottom):
            self._rows = None  # freed before the next are read
            self._rows = (top, bottom, self.rows(top, bottom))
        part = self._rows[2][:, left:right]
        return np.repeat(part[..., None], 3, axis=2) if part.ndim == 2 else part


@dataclass(frozen=True)
class InMemory:
    """A picture that memory holds, HxWxC."""

    pixels: Pixels
    geo: Geo = field(default_factory=Geo)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.pixels.shape[0], self.pixels.shape[1])

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """A window."""
        return self.pixels[top:bottom, left:right]


@contextmanager
def open_picture(path: Path, scratch: Path, channels: Channels | None = None) -> Iterator[Picture]:
    """Open a picture for reading by windows.

    TIFF, BigTIFF, GeoTIFF and SVS are read by their own tiles or strips (needs tifffile, extra ``data``); others
    are decoded as a whole, and kept in ``scratch`` where they are large. With ``channels`` windows are raw values.

    Raises:
        InputError: missing, damaged, of a kind that cannot be read, or above ``LIMIT`` pixels.
    """
    check_regular(path, "a picture")
    if path.suffix.lower() in (".tif", ".tiff", ".svs"):
        from refineseg.inference.tiles.tiff import open_tiff

        with open_tiff(path, channels) as picture:
            yield picture
        return
    if channels is not None:
        raise InputError(f"expected a TIFF of {channels.count} channels of {channels.dtype}, got {path}")
    pixels = _decode(path)
    if pixels.nbytes <= IN_MEMORY:
        yield InMemory(pixels)
        return
    raw = Raw(scratch / "picture.raw", (pixels.shape[0], pixels.shape[1]), 3).create()
    try:
        raw.write(0, pixels)
        del pixels
        yield raw
    finally:
        raw.path.unlink(missing_ok=True)


def _decode(path: Path) -> UInt8:
    """A whole picture, up to ``LIMIT`` pixels; Pillow's own, lower limit is lifted for it alone."""
    try:
        with _pillow_limit:
            before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = before
    except FileNotFoundError as error:
        raise InputError(f"expected a picture, found no file {path}") from error
    except Exception:
        return read_image(path)  # says what is wrong
    with image:
        if image.width * image.height > LIMIT:
            raise InputError(
                f"expected at most {LIMIT:,} pixels in {path}, which is decoded as a whole, got {image.width}x"
                f"{image.height}: save it as a tiled TIFF, which is read by windows"
            )
        try:
            return read_image(image)
        except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error ...
            raise InputError(f"cannot read {path} as a picture ({error}): is it damaged?") from error


def to_rgb(pixels: NDArray[Any], path: Path) -> UInt8:
    """HxWxC of a TIFF to HxWx3 uint8: grey repeated, alpha over white, 16 bits scaled to 8.

    Raises InputError for other numbers of channels or types, where no guess would be safe.
    """
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257.0).astype(np.uint8)
    channels = pixels.shape[2]
    if pixels.dtype != np.uint8 or channels > 4:
        raise InputError(
            f"expected 1 to 4 channels of 8 or 16 bits in {path}, got {channels} of {pixels.dtype}: "
            "choose and scale three of them first"
        )
    if channels in (2, 4):
        alpha = pixels[..., -1:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :-1] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
