"""TIFF by tifffile: windows read by the file's own tiles or strips, and label rasters written tile by tile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Channels, Pixels
from refineseg.data.images import read_image
from refineseg.data.tiff import read_channels, tifffile_package
from refineseg.errors import InputError, MissingExtraError
from refineseg.inference.tiles.geotiff import TAGS, Geo
from refineseg.inference.tiles.raster import InMemory, Picture, Raw, to_rgb
from refineseg.labels import UInt8
from refineseg.system.files import atomic_path

CACHE = 192 << 20  # bytes of decoded tiles or strips that are kept
ORIENTATION, UPRIGHT = 274, 1  # TIFF 6.0, section 8
TILE = 256  # side of the tiles written
BIG = 1 << 31  # bytes from which BigTIFF is written; a classic TIFF ends at 4 GiB


class Segments:
    """The first picture of a TIFF, decoded by tiles or strips as windows ask for them."""

    def __init__(self, path: Path, page: Any, geo: Geo, channels: Channels | None = None) -> None:
        self.path, self.page, self.geo, self.channels = path, page, geo, channels
        self.size = (int(page.imagelength), int(page.imagewidth))
        self.separate = int(page.planarconfig) == 2 and page.samplesperpixel > 1
        whole = (min(page.rowsperstrip, self.size[0]), self.size[1])
        self.step = (page.tilelength, page.tilewidth) if page.is_tiled else whole
        self.across = -(-self.size[1] // self.step[1])
        self.down = -(-self.size[0] // self.step[0])
        self._cache: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._held = 0

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """A window, HxWx3 uint8 RGB or the raw values of channels. InputError where a part cannot be decoded."""
        planes = self.page.samplesperpixel if self.separate else 1
        depth = 1 if self.separate else self.page.samplesperpixel
        window = np.zeros((bottom - top, right - left, planes * depth), self.page.dtype)
        height, width = self.step
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                y, x = row * height, column * width
                for plane in range(planes):
                    part = self._segment((plane * self.down + row) * self.across + column, depth)
                    above, below = max(top, y), min(bottom, y + part.shape[0])
                    first, last = max(left, x), min(right, x + part.shape[1])
                    window[above - top : below - top, first - left : last - left, plane : plane + depth] = part[
                        above - y : below - y, first - x : last - x
                    ]
        return window if self.channels is not None else to_rgb(window, self.path)

    def _segment(self, index: int, depth: int) -> NDArray[Any]:
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        page = self.page
        try:
            file = page.parent.filehandle
            file.seek(page.dataoffsets[index])
            data = file.read(page.databytecounts[index])
            decoded, _, shape = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
            part = np.zeros((*self.step, depth), page.dtype) if decoded is None else decoded.reshape(shape[1:])
        except Exception as error:  # tifffile raises its own, ValueError, IndexError, and its codecs' errors
            if "imagecodecs" in str(error):
                raise MissingExtraError("imagecodecs", "slide", f"decoding {self.path}") from error
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise InputError(f"cannot read {self.path}, part {index}: {reason}") from error
        self._cache[index] = part
        self._held += part.nbytes
        while self._held > CACHE and len(self._cache) > 1:
            self._held -= self._cache.popitem(last=False)[1].nbytes
        return part


@contextmanager
def open_tiff(path: Path, channels: Channels | None = None) -> Iterator[Picture]:
    """The first picture of a TIFF, BigTIFF, GeoTIFF or SVS (its full resolution).

    With ``channels`` windows are raw values, and channels that are pages of their own are read as a whole.

    Raises InputError for files that cannot be read, for palettes and colour spaces other than grey, RGB and
    YCbCr, and for other channels than those of ``channels``.
    """
    tifffile = tifffile_package()
    if not path.exists():
        raise InputError(f"expected a picture, found no file {path}")
    try:
        file = tifffile.TiffFile(path)
        page = file.pages[0]
        geo = Geo({code: page.tags[code].value for code in TAGS if code in page.tags})
    except Exception as error:  # tifffile raises its own, ValueError, struct.error, IndexError ...
        raise InputError(f"cannot read {path} as TIFF ({error}): is it damaged?") from error
    with file:
        if page.photometric.name not in ("MINISBLACK", "RGB", "YCBCR") or page.imagedepth != 1:
            raise InputError(
                f"expected grey or RGB in {path}, got {page.photometric.name}: convert it to RGB first"
            )
        if channels is not None:
            single = page.samplesperpixel == channels.count and page.dtype.name == channels.dtype
            yield Segments(path, page, geo, channels) if single else InMemory(read_channels(path, channels), geo)
            return
        if ORIENTATION in page.tags and page.tags[ORIENTATION].value != UPRIGHT:
            yield InMemory(read_image(path), geo)  # turned as a whole, as without windows
            return
        plain = page.is_contiguous and page.dtype == np.uint8 and page.samplesperpixel in (1, 3)
        if plain and not (int(page.planarconfig) == 2 and page.samplesperpixel > 1):
            size = (int(page.imagelength), int(page.imagewidth))
            yield Raw(path, size, int(page.samplesperpixel), int(page.dataoffsets[0]), geo)
        else:
            yield Segments(path, page, geo)


def write_index_tiff(path: Path, labels: Raw, palette: UInt8, geo: Geo) -> None:
    """Train ids as a tiled, deflated TIFF with a colour map and the geographic tags; BigTIFF above 2 GiB.

    Args:
        path: gets its name when it is whole.
        labels: HxW.
        palette: 256x3.
        geo: of the picture.
    """
    tifffile = tifffile_package()
    height, width = labels.size
    with (
        atomic_path(path) as temporary,
        tifffile.TiffWriter(temporary, bigtiff=height * width > BIG) as writer,
    ):
        writer.write(
            _tiles(labels),
            shape=labels.size,
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="palette",
            colormap=(palette.T.astype(np.uint16) * 257),
            compression="zlib",
            extratags=geo.extra_tags(),
            metadata=None,
        )


def _tiles(labels: Raw) -> Iterator[UInt8]:
    for _, rows in labels.strips(TILE):
        padded = np.pad(rows, ((0, TILE - rows.shape[0]), (0, -rows.shape[1] % TILE)))
        for left in range(0, padded.shape[1], TILE):
            yield np.ascontiguousarray(padded[:, left : left + TILE])
