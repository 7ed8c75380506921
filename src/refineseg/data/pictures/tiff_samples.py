"""The samples of a TIFF as stored, of any number of channels and any type, and their description in its header.

Needs tifffile (extra ``data``). Nothing here converts a value; ``from_tiff`` does.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from refineseg.channels import Pixels
from refineseg.data.pictures.geotiff import TAGS, Geo, parse_nodata
from refineseg.data.pictures.pillow import check_regular, decoding
from refineseg.data.pictures.tiff_windows import PageWindows
from refineseg.errors import InputError, extra

MOST_PAGES = 10_000
SUFFIXES = (".tif", ".tiff")
SUBFILE, REDUCED, MASK = 254, 1, 4  # TIFF 6.0, section 8: NewSubfileType and its bits
ORIENTATION, UPRIGHT, NODATA = 274, 1, 42113
ASSOCIATED, UNASSOCIATED = 1, 2  # ExtraSamples that are alpha
OF_A_SLIDE = frozenset({"svs", "ndpi", "scn", "bif", "philips", "qpi"})  # further pages are thumbnails and labels
ChannelCount = int | Literal["any"] | None
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # not on the terminal: errors say what is wrong


@dataclass(frozen=True)
class TiffSamples:
    """The samples of a TIFF's picture, and their description in the header."""

    page: Any  # tifffile's first page
    windows: list[PageWindows]  # the pages with the picture's samples: the first, or one per channel
    mask: PageWindows | None  # the internal mask, HxWx1, 0 for no-data
    geo: Geo  # georeference
    nodata: float | int | None  # the no-data value, or None
    left_out: int  # number of further pages with other pictures

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.windows[0].size

    @property
    def samples(self) -> int:
        """Number of samples per pixel, including channels stored as pages."""
        return sum(page.samples for page in self.windows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples."""
        return self.windows[0].dtype

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """A window as HxWxS. InputError if a part cannot be decoded."""
        parts = [page.read(top, bottom, left, right) for page in self.windows]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    @property
    def alpha(self) -> int | None:
        """Index of the alpha sample, or None."""
        extra = [int(kind) for kind in self.page.extrasamples]
        first = next((i for i, kind in enumerate(extra) if kind in (ASSOCIATED, UNASSOCIATED)), None)
        return None if first is None else int(self.page.samplesperpixel) - len(extra) + first

    @property
    def premultiplied(self) -> bool:
        """Whether colours are premultiplied by alpha."""
        return ASSOCIATED in [int(kind) for kind in self.page.extrasamples]

    @property
    def bits(self) -> int:
        """Bits per sample as stored."""
        bits = self.page.bitspersample
        return int(max(bits) if isinstance(bits, tuple) else bits)

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8."""
        tag = self.page.tags.get(ORIENTATION)
        value = UPRIGHT if tag is None else int(tag.value)
        return value if 1 <= value <= 8 else UPRIGHT


@contextmanager
def open_samples(source: Path | BinaryIO, name: str, count: ChannelCount = None) -> Iterator[TiffSamples]:
    """The samples of a TIFF's first picture.

    Pages of one sample are the channels of one picture if the header says so, if there are ``count`` of them, or
    for ``any`` if they are few; else only the first page is read. InputError if the file cannot be read;
    MissingExtraError if tifffile, or the codec of the file, is not installed.
    """
    tifffile = tifffile_package()
    if isinstance(source, Path):
        check_regular(source, "a picture")
    with ExitStack() as opened:
        with decoding(name, "TIFF"):
            with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
                within = pages_within(stream, MOST_PAGES)
            if not within:
                raise InputError(
                    f"{name}: expected a TIFF of at most {MOST_PAGES:,} pages, got more: save one of them"
                )
            found = _samples(opened.enter_context(tifffile.TiffFile(source)), name, count)
        yield found


def pages_within(stream: BinaryIO, most: int) -> bool:
    """Whether a TIFF has at most so many pages, which do not form a loop: its reader parses all of them."""
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    start, count, entry, offset = (8, "Q", 20, "Q") if big else (4, "H", 12, "I")
    try:
        (place,) = struct.unpack_from(order + offset, head, start)
        for _ in range(most):
            if not place:
                return True
            stream.seek(place)
            (entries,) = struct.unpack(order + count, stream.read(struct.calcsize(count)))
            stream.seek(place + struct.calcsize(count) + entry * entries)
            (place,) = struct.unpack(order + offset, stream.read(struct.calcsize(offset)))
    except (struct.error, OverflowError, OSError, ValueError):  # the reader says what is wrong
        return True
    finally:
        stream.seek(0)
    return False


def _samples(file: Any, name: str, count: ChannelCount) -> TiffSamples:
    page = file.pages[0]
    if page.dtype is None or page.imagedepth != 1:
        raise InputError(f"{name}: expected a TIFF of height, width and channels, got a volume or unknown numbers")
    tag = page.tags.get(NODATA)
    dtype = np.dtype(page.dtype).newbyteorder("=")
    nodata = None if tag is None else parse_nodata(str(tag.value), dtype)
    fill = 0 if nodata is None else nodata
    same, mask = _further_pages(file, name)
    pages = [page, *same] if _are_channels(file, page, 1 + len(same), count) else [page]
    windows = [PageWindows(name, part, fill) for part in pages]
    if len({(part.size, part.dtype) for part in windows}) > 1:
        windows = windows[:1]
    geo = Geo({code: page.tags[code].value for code in TAGS if code in page.tags})
    slide = file.series[0].kind in OF_A_SLIDE
    return TiffSamples(page, windows, mask, geo, nodata, 0 if slide or len(windows) > 1 else len(same))


def _further_pages(file: Any, name: str) -> tuple[list[Any], PageWindows | None]:
    """Pages with other pictures, and the first picture's internal mask."""
    first = file.pages[0]
    pictures, mask = [], None
    for page in list(file.pages)[1:]:
        page = page.aspage() if hasattr(page, "aspage") else page
        kind = int(page.tags[SUBFILE].value) if SUBFILE in page.tags else 0
        if kind & MASK:
            if mask is None and (page.imagelength, page.imagewidth) == (first.imagelength, first.imagewidth):
                mask = PageWindows(name, page)
        elif not kind & REDUCED:
            pictures.append(page)
    return pictures, mask


def _are_channels(file: Any, page: Any, pages: int, count: ChannelCount) -> bool:
    """Whether pages of one sample each are the channels of one picture."""
    if pages == 1 or page.samplesperpixel != 1:
        return False
    series = file.series[0]
    leading = [axis for axis in str(series.axes) if axis not in "YXS"]
    if int(np.prod(series.shape)) != pages * page.imagelength * page.imagewidth:
        return False
    few = pages < min(page.imagelength, page.imagewidth)
    return leading == ["C"] or count == pages or (count == "any" and few)


def read_tiff(path: Path) -> Pixels:
    """A TIFF as HxWxC, values as stored. InputError if it cannot be read."""
    with open_samples(path, str(path), "any") as samples:
        return samples.read(0, samples.size[0], 0, samples.size[1])


def tiff_shape(path: Path) -> tuple[int, int]:
    """Height and width; header only. InputError if it cannot be read."""
    with open_samples(path, str(path)) as samples:
        height, width = samples.size
        return (width, height) if samples.orientation > 4 else (height, width)


def is_scientific(path: Path) -> bool:
    """Whether a file is a TIFF with more than 3 channels or 8 bits."""
    if path.suffix.lower() in SUFFIXES:
        with suppress(InputError), open_samples(path, str(path), "any") as samples:
            return samples.dtype.itemsize > 1 or samples.samples > 3
    return False


def tifffile_package() -> Any:
    """The optional package tifffile; imported nowhere else."""
    with extra("tifffile", "data", "reading TIFF of many channels or by windows"):
        import tifffile
    return tifffile
