"""Reading pictures and masks of any mode, and writing masks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from refineseg.channels import Channels
from refineseg.data import mask_arrays
from refineseg.data.pictures.open_picture import read_picture
from refineseg.data.pictures.picture import InMemory
from refineseg.data.pictures.pillow import check_regular, decoding, has_deep_colors, name_of, open_image, to_rgb
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8
from refineseg.system.files import atomic_path

SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp", ".gif"),
        *(".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm"),
    )
)
MASK_SUFFIXES = SUFFIXES | mask_arrays.SUFFIXES
ORIENTATION = 0x0112  # tag of EXIF and TIFF
SUBFILE, REDUCED = 0x00FE, 1  # TIFF tag NewSubfileType, and its bit for a reduced copy of a page


def read_image(source: str | Path | Image.Image | NDArray[Any]) -> UInt8:
    """A picture (a file, an opened PIL image, or an array HxWx3, HxWx1 or HxW of uint8) as HxWx3 uint8 RGB.

    EXIF orientation is applied; grey, palette, alpha (over white), CMYK, YCbCr, Lab and more than 8 bits are
    converted. ``data.pictures.open_picture.read_picture`` also returns what was assumed and where data is
    missing.
    InputError for a missing, unreadable or truncated file, or an array of another shape or type.
    """
    if isinstance(source, np.ndarray):
        pixels = source[..., None] if source.ndim == 2 else source
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
            raise InputError(
                f"expected an image array HxWx3 of uint8 in 0..255, got {source.dtype} of shape {source.shape}"
            )
        if not source.size:
            raise InputError(f"expected an image of at least 1x1 pixel, got shape {source.shape}")
        return np.ascontiguousarray(pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2))
    if isinstance(source, Image.Image):
        return to_rgb(source)[0]
    _check_kind(source)
    return read_picture(Path(source)).pixels


def as_picture(
    image: str | Path | Image.Image | NDArray[Any],
    channels: Channels | None,
    choice: tuple[int, ...] | None = None,
) -> InMemory:
    """A picture of any kind: HxWx3 uint8 RGB, or HxWxC raw values of a model's ``channels``.

    ``choice`` has the indices of the channels of a file or HxWxC array to take. InputError if it cannot be read,
    or has other channels or another type of number than ``channels``.
    """
    if isinstance(image, str | Path):
        return read_picture(Path(image), channels, choice)
    if choice is not None:
        image = _chosen(image, choice)
    if channels is None and isinstance(image, Image.Image):
        rgb, notes = to_rgb(image)
        return InMemory(rgb, notes=notes)
    if channels is None:
        return InMemory(read_image(image))
    _check_kind(image)
    pixels = np.asarray(image)
    channels.check(pixels, "picture")
    return InMemory(pixels)


def _chosen(image: Image.Image | NDArray[Any], choice: tuple[int, ...]) -> NDArray[Any]:
    """The chosen channels of an array, HxWxC; InputError for a PIL image, whose channels have no numbers."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or max(choice) >= image.shape[2]:
        found = f"an array of shape {image.shape}" if isinstance(image, np.ndarray) else "a PIL image"
        raise InputError(f"expected a file, or an array HxWxC with channel {max(choice) + 1}, got {found}")
    return image[..., list(choice)]


def read_mask(source: str | Path | bytes, name: str = "") -> NDArray[Any]:
    """Raw values of a mask: HxW integers (palette indices), or HxWx3 for colour masks; without alpha.

    Files may be pictures, or arrays (.npy, .npz, .mat). ``name`` is used in messages; by default the path.
    InputError for files that cannot be read, have several pages or arrays, or hold fractions.
    """
    source = Path(source) if isinstance(source, str) else source
    if isinstance(source, Path) and mask_arrays.is_array(source):
        array = mask_arrays.read_array(source)
        return array.astype(np.uint8) if array.dtype == bool else array
    name = name or name_of(source)
    with opened_mask(source, name) as image:
        if image.mode in ("RGB", "RGBA"):
            if has_deep_colors(source):
                raise InputError(f"expected a colour mask of 8 bits a channel, got 16 in {name}: save it with 8")
            return np.asarray(image.convert("RGB"))
        if image.mode in ("L", "LA", "P", "1", "I", "I;16", "I;16B", "I;16L"):
            mask = np.asarray(image.getchannel("L") if image.mode == "LA" else image)
            return mask.astype(np.uint8) if mask.dtype == bool else mask
        if image.mode == "F":  # class numbers as QGIS and others write them
            numbers = np.asarray(image)
            if np.isfinite(numbers).all() and np.array_equal(numbers, np.rint(numbers)):
                return numbers.astype(np.int32)
            raise InputError(f"expected a mask of whole class numbers, got fractions or no numbers in {name}")
        raise InputError(f"expected a mask of class numbers or colours, got {name} of mode {image.mode}")


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

    16-bit values of pictures count by their high byte. InputError for files that cannot be read.
    """
    if mask_arrays.is_array(path):
        array = mask_arrays.read_array(path)
        return np.asarray(array if array.dtype == bool else array >= threshold, np.uint8)
    with opened_mask(path) as image:
        if image.mode.startswith("I;16"):
            grey = np.asarray(image).astype(np.uint16) >> 8
        elif image.mode == "P":  # palettes by their colours
            grey = np.asarray(image.convert("RGB").convert("L"))
        else:
            grey = np.asarray(image.convert("L"))
    return np.asarray(grey >= threshold, np.uint8)


def nearest(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A mask HxW or HxWx3 at another width and height, by nearest neighbour."""
    height, width = mask.shape[:2]
    rows = (np.arange(size[1]) * 2 + 1) * height // (2 * size[1])
    columns = (np.arange(size[0]) * 2 + 1) * width // (2 * size[0])
    return mask[np.ix_(rows, columns)]


def write_mask(path: str | Path, labels: UInt8, label_map: LabelMap) -> None:
    """Train ids HxW as a palette index PNG with the label map's colours."""
    with atomic_path(path) as temporary:
        index_image(labels, label_map).save(temporary, format="PNG")


def index_image(labels: UInt8, label_map: LabelMap) -> Image.Image:
    """Train ids HxW as a palette picture with the label map's colours."""
    image = Image.fromarray(labels)
    image.putpalette(label_map.palette.tobytes())
    return image


def _check_kind(source: object) -> None:
    if not isinstance(source, str | Path | Image.Image | np.ndarray):
        raise InputError(f"expected a path, a PIL image or a NumPy array, got {type(source).__name__}")


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
