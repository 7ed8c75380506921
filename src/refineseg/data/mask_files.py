"""Mask files: opening, and reading two classes by a threshold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from refineseg.data.pictures.pillow import check_regular, decoding, name_of, open_image
from refineseg.errors import InputError
from refineseg.labels import UInt8

ORIENTATION = 0x0112  # tag of EXIF and TIFF
SUBFILE, REDUCED = 0x00FE, 1  # TIFF tag NewSubfileType, and its bit for a reduced copy of a page


@contextmanager
def opened_mask(source: Path | bytes, name: str = "") -> Iterator[Image.Image]:
    """A mask, from its file or content, with its EXIF orientation applied.

    Raises InputError for a missing or damaged file (also if decoding fails inside the block), or one of several
    pages or frames; reduced copies of a page (GDAL's overviews) do not count.
    """
    name = name or name_of(source)
    if isinstance(source, Path):
        check_regular(source, "a mask")
    with decoding(name, "a mask"), open_image(source) as image:
        pages = _pages(image)
        if pages > 1:
            raise InputError(
                f"expected a mask of one page, got {pages} pages or frames in {name}: save the right one alone"
            )
        turned = image.getexif().get(ORIENTATION, 1) != 1
        yield ImageOps.exif_transpose(image) if turned else image


def check_threshold(value: Any, place: str = "") -> int:
    """The threshold of a binary mask; InputError unless it is an integer in 1..255."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 255:
        raise InputError(f"{place}expected a threshold in 1..255, got {value!r}")
    return value


def read_binary_mask(path: Path, threshold: int) -> UInt8:
    """A mask of any mode as HxW zeros and ones: 1 for grey values (0..255) of ``threshold`` or more.

    16-bit values count by their high byte. InputError for files that cannot be read.
    """
    with opened_mask(path) as image:
        if image.mode.startswith("I;16"):
            grey = np.asarray(image).astype(np.uint16) >> 8
        elif image.mode == "P":  # palettes by their colours
            grey = np.asarray(image.convert("RGB").convert("L"))
        else:
            grey = np.asarray(image.convert("L"))
    return np.asarray(grey >= threshold, np.uint8)


def _pages(image: Image.Image) -> int:
    frames: int = getattr(image, "n_frames", 1)
    if frames == 1 or image.format != "TIFF":
        return frames
    pages = 0
    for index in range(frames):
        image.seek(index)
        pages += not getattr(image, "tag_v2", {}).get(SUBFILE, 0) & REDUCED
    image.seek(0)
    return pages
