"""Decoding by Pillow: all formats but TIFF, as a whole."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from refineseg.channels import Pixels
from refineseg.data.pictures.color_spaces import to_8_bit, to_bytes, white_of
from refineseg.errors import InputError, MissingExtraError, TooLargeError
from refineseg.labels import UInt8
from refineseg.system.files import open_file, read_file
from refineseg.system.text import reason_of

LIMIT = 1 << 30  # largest PNG, JPEG ... with --tile, in pixels of 3 to 4 bytes
MAX_SCANS = 100  # scans of a JPEG, at most; progressive encoders write about ten
IN_MEMORY = 256 << 20  # bytes of pixels kept in memory with --tile; more go to a temporary file
DEEP = ("I;16", "I;16B", "I;16L", "I", "F")  # modes of more than 8 bits
PNG = b"\x89PNG\r\n\x1a\n"
HEIC = re.compile(rb"....ftyp(he[iv][cxms]|mif1|msf1)", re.DOTALL)
AVIF = re.compile(rb"....ftypavi[fs]", re.DOTALL)
PNG_DEPTH = 24  # byte of the header with the bit depth, before the colour type
_pillow_limit = Lock()


def read_rgb(source: Path | bytes, large: bool = False) -> tuple[UInt8, tuple[str, ...]]:
    """A picture (file or content) as HxWx3 uint8 RGB, and notes.

    ``large`` allows ``LIMIT`` pixels in place of Pillow's lower limit. InputError if it is missing, damaged or too
    large.
    """
    deep = _deep_color_png(source)
    if deep is not None:
        white, notes = white_of(deep.dtype, 16, lambda: float(deep[..., :3].max(initial=0)), name_of(source))
        pixels, of_alpha = _over_white(Image.fromarray(to_bytes(deep, white)))
        return pixels, (*of_alpha, *notes)
    with opened(source, large) as image:
        notes = frame_notes(image)
        if has_deep_colors(source):
            notes = (*notes, "of its 16-bit colours the upper 8 bits are read")
        pixels, of_values = to_rgb(image, name_of(source))
        return pixels, (*notes, *of_values)


def read_raw(source: Path | bytes) -> tuple[Pixels, tuple[str, ...]]:
    """A picture's values as stored, HxWxC (palettes as RGB), and notes. InputError as in ``read_rgb``."""
    deep = _deep_color_png(source)
    if deep is not None:
        return deep, ()
    with opened(source) as image:
        notes = frame_notes(image)
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in (*DEEP, "L", "RGB", "RGBA", "LA"):
            upright = upright.convert("RGB")
        values = np.asarray(upright)
        if values.dtype == np.int32 and stored_bits(source) == 16:  # older Pillow reads 16-bit grey as 32-bit
            values = values.astype(np.uint16)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        return values[..., None] if values.ndim == 2 else values, notes


def open_image(source: str | Path | bytes, *, decode: bool = True) -> Image.Image:
    """``PIL.Image.open`` for untrusted files, with HEIC by pillow-heif.

    Raises InputError for HEIC or AVIF without a decoder, for what is not a regular file, for PostScript, a program
    that Pillow would give to Ghostscript, and, unless only the header is read (``decode=False``), for a JPEG of
    more than MAX_SCANS.
    """
    source = Path(source) if isinstance(source, str) else source
    if isinstance(source, Path):
        check_regular(source, "a picture")
    image = _identified(source)
    if image.format == "EPS":
        image.close()
        raise InputError(f"{name_of(source)} is PostScript, a program and not a picture: convert it to PNG")
    jpeg = decode and image.format in ("JPEG", "MPO")
    if jpeg and too_many_scans(source if isinstance(source, bytes) else read_file(source)):
        image.close()
        raise InputError(f"{name_of(source)} is a JPEG of more than {MAX_SCANS} scans: export it again")
    return image


def too_many_scans(jpeg: bytes) -> bool:
    """Whether a small JPEG would take hours, since each of its scans is a pass over all pixels."""
    return jpeg.count(b"\xff\xda") > MAX_SCANS


def _identified(source: Path | bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except UnidentifiedImageError:
        start, name = start_of(source), name_of(source)
        if AVIF.match(start):
            raise InputError(
                f"{name} is an AVIF picture, and this Pillow was built without AVIF: install one of its wheels"
            ) from None
        if not HEIC.match(start):
            raise
    if not reads_heic():
        raise InputError(
            f"{name} is a HEIC picture, which needs the package pillow-heif: pip install 'refineseg[heif]'"
        )
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


@cache
def reads_heic() -> bool:
    """Register pillow-heif with Pillow; whether it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


@contextmanager
def opened(source: Path | bytes, large: bool = False) -> Iterator[Image.Image]:
    """An opened picture; decoding errors in the block become InputErrors."""
    name = name_of(source)
    with decoding(name, "a picture"):
        try:
            image = _open(source, large)
        except Image.DecompressionBombError as error:
            raise TooLargeError(f"{name}: {error}; use --tile for pictures of this size") from error
        with image:
            if large and image.width * image.height > LIMIT:
                raise InputError(
                    f"expected at most {LIMIT:,} pixels in {name}, which is decoded as a whole, got {image.width}x"
                    f"{image.height}: save it as a tiled TIFF, which is read by windows"
                )
            yield image


@contextmanager
def decoding(name: str, what: str) -> Iterator[None]:
    """Any error of a decoder in the block becomes an InputError: a file that is missing or damaged."""
    try:
        yield
    except (InputError, MissingExtraError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"File not found: {name}") from error
    except Exception as error:  # decoders raise OSError, ValueError, IndexError, SyntaxError, struct.error ...
        raise InputError(
            f"cannot read {name} as {what} ({reason_of(error)}): is it damaged or another format?"
        ) from error


def to_rgb(image: Image.Image, name: str = "picture") -> tuple[UInt8, tuple[str, ...]]:
    """An opened picture as HxWx3 uint8 RGB, upright, and a note on what was assumed, if anything."""
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode not in DEEP:
        return _over_white(image)
    values = np.asarray(image)
    if values.dtype == np.int32 and 255 < values.max(initial=0) <= 65535:
        values = values.astype(np.uint16)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    grey, notes = to_8_bit(values, name)
    return np.repeat(grey[..., None], 3, axis=2), notes


def frame_notes(image: Image.Image) -> tuple[str, ...]:
    """A note if a picture has several frames or pages; the second view of an MPO does not count."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    part = "page" if image.format == "TIFF" else "frame"
    return (f"{part} 1 of {frames} is read",) if frames > 1 else ()


def stored_bits(source: Path | bytes) -> int:
    """Bits per sample, at least 8; reads the header only. InputError as in ``read_rgb``."""
    header = start_of(source)
    if header.startswith(PNG):
        return max(8, header[PNG_DEPTH]) if len(header) > PNG_DEPTH else 8
    with opened(source) as image:
        return 16 if image.mode.startswith("I;16") else 32 if image.mode in ("I", "F") else 8


def check_regular(path: Path, what: str) -> None:
    """InputError for a folder, pipe or device: reading it may block or never end."""
    try:
        if path.is_file() or not path.exists():
            return
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    found = "the folder" if path.is_dir() else "the pipe or device"
    raise InputError(f"expected {what}, got {found} {path}")


def _open(source: Path | bytes, large: bool) -> Image.Image:
    if not large:
        return open_image(source)
    with _pillow_limit:  # Pillow's lower limit is lifted for this picture only
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return open_image(source)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _over_white(image: Image.Image) -> tuple[UInt8, tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes = ("its transparent pixels are read over white",)
        paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, rgba)
    return np.array(image.convert("RGB")), notes


def _deep_color_png(source: Path | bytes) -> NDArray[np.uint16] | None:
    """A 16-bit colour PNG, HxWxC, of which Pillow keeps 8 bits only; None for others or without torch."""
    if not has_deep_colors(source):
        return None
    try:
        import torch
        from torchvision.io import ImageReadMode, decode_png
    except ImportError:  # torchvision plans to remove its decoders
        return None
    with opened(source) as image:  # checks the size before decoding
        image.verify()
    data = source.read_bytes() if isinstance(source, Path) else source
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            planes: Any = decode_png(content, ImageReadMode.UNCHANGED)
    except RuntimeError as error:
        raise InputError(
            f"cannot read {name_of(source)} as a picture ({reason_of(error)}): is it damaged?"
        ) from error
    return np.ascontiguousarray(planes.permute(1, 2, 0).numpy())


def has_deep_colors(source: Path | bytes) -> bool:
    """Whether a file is a colour PNG of 16 bits a channel, of which Pillow reads 8."""
    header = start_of(source)
    return header.startswith(PNG) and header[PNG_DEPTH : PNG_DEPTH + 2] in (b"\x10\x02", b"\x10\x04", b"\x10\x06")


def start_of(source: Path | bytes) -> bytes:
    """The first 32 bytes; none of what cannot be read."""
    if isinstance(source, bytes):
        return source[:32]
    with suppress(OSError), open_file(source) as stream:
        return stream.read(32)
    return b""


def name_of(source: Path | bytes) -> str:
    """A file's name in messages."""
    return str(source) if isinstance(source, Path) else "the picture"
