"""Opening pictures of any format, whole or by windows, from files or uploads."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from refineseg.channels import Channels, Pixels
from refineseg.data.pictures import pillow
from refineseg.data.pictures.color_spaces import to_8_bit
from refineseg.data.pictures.from_tiff import FromTiff
from refineseg.data.pictures.picture import ChannelSelection, InMemory, OnDisk, Picture, Void, upright
from refineseg.data.pictures.raster import Raster
from refineseg.data.pictures.tiff_samples import SUFFIXES as TIFF_SUFFIXES
from refineseg.data.pictures.tiff_samples import ChannelCount, open_samples
from refineseg.errors import InputError, MissingExtraError, TooLargeError

SIGNATURES = {  # first bytes by format
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM....\0\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),  # classic and BigTIFF
    "AVIF": pillow.AVIF,
    "HEIC": pillow.HEIC,
}
SLIDES = (".svs",)
OLD_JPEG = 6  # TIFF 6.0, section 22: compression of 8-bit colours
WHOLE = 1 << 28  # pixels of a TIFF read in one piece; Pillow's limit for other formats is lower


@contextmanager
def open_picture(
    source: Path | bytes,
    channels: ChannelSelection = None,
    choice: tuple[int, ...] | None = None,
    scratch: Path | None = None,
) -> Iterator[Picture]:
    """Open a picture for reading by windows.

    TIFF, BigTIFF, GeoTIFF and SVS are read by tiles or strips (tifffile, extra ``data``; without it or its
    codecs by Pillow, if possible); others are decoded as a whole, those too large for memory into the folder
    ``scratch``. ``channels`` are those of a model, or ``any``, for raw values; None for RGB. ``choice`` has the
    0-based indices of the channels to take, in order. InputError for a missing, damaged or unsupported file, or
    other channels than the model's.
    """
    name = pillow.name_of(source)
    with ExitStack() as opened:
        samples = None
        if is_tiff(source):
            needed: ChannelCount = channels.count if isinstance(channels, Channels) else channels
            needed = "any" if choice is not None and max(choice, default=0) > 0 else needed
            file = source if isinstance(source, Path) else io.BytesIO(source)
            try:
                samples = opened.enter_context(open_samples(file, name, needed))
                if samples.page.compression == OLD_JPEG:
                    samples = None  # as scanners write it; of the two Pillow alone reads it
                else:
                    samples.windows[0].check_decodable()
            except MissingExtraError:
                slide = isinstance(source, Path) and source.suffix.lower() in SLIDES
                if channels is not None or choice is not None or slide:
                    raise
                samples = None
        if samples is None:
            yield opened.enter_context(_decoded(source, channels, choice, scratch, name))
        else:
            found = FromTiff(samples, channels, choice, name)
            yield _whole(found, samples.orientation) if samples.orientation > 1 else found


def read_picture(
    source: Path | bytes, channels: ChannelSelection = None, choice: tuple[int, ...] | None = None
) -> InMemory:
    """A whole picture. TooLargeError for a huge TIFF; arguments and other errors as in ``open_picture``."""
    with open_picture(source, channels, choice) as picture:
        height, width = picture.size
        if isinstance(picture, InMemory):
            return picture
        if height * width > WHOLE and channels is None:
            raise TooLargeError(
                f"{pillow.name_of(source)}: {width}x{height} is too large for one piece: use --tile auto"
            )
        return _whole(picture)


def picture_format(start: bytes) -> str | None:
    """The format of a picture by its first bytes, a name of ``SIGNATURES``; None for others."""
    return next((name for name, signature in SIGNATURES.items() if signature.match(start)), None)


def is_picture(path: Path) -> bool:
    """Whether a file has one of the ``SIGNATURES``."""
    return picture_format(pillow.start_of(path)) is not None


def read_void(path: Path) -> Void | None:
    """Pixels without data, HxW, or None; only TIFF has such pixels."""
    if path.suffix.lower() in TIFF_SUFFIXES:
        with suppress(MissingExtraError), open_picture(path) as picture:
            height, width = picture.size
            return picture.void(0, height, 0, width)
    return None


def read_channels(path: Path, channels: Channels | None, choice: tuple[int, ...] | None = None) -> Pixels:
    """The pixels of a whole picture, as by ``read_picture``."""
    return read_picture(path, channels, choice).pixels


def needs_statistics(path: Path) -> bool:
    """Whether a file is more than 8-bit RGB, by its header: more than 8 bits, or channels that are not colours."""
    if is_tiff(path):
        with suppress(MissingExtraError), open_samples(path, str(path), "any") as samples:
            colors = samples.samples - (samples.alpha is not None) in (1, 3)
            kind = samples.page.photometric.name
            return samples.dtype.itemsize > 1 or (kind == "MINISBLACK" and not colors)
    return pillow.stored_bits(path) > 8


def stored_bits(path: Path) -> int:
    """Bits per sample as stored; reads the header only. InputError if it cannot be read."""
    if not is_tiff(path):
        return pillow.stored_bits(path)
    with open_samples(path, str(path)) as samples:
        return samples.bits


def largest_value(path: Path) -> float:
    """The largest value of a picture, without no-data. InputError if it cannot be read."""
    with open_picture(path, "any") as picture:
        if isinstance(picture, FromTiff):
            return picture.largest()
        height, width = picture.size
        pixels = picture.read(0, height, 0, width)
        return float(pixels[np.isfinite(pixels)].max(initial=0))


def is_tiff(source: Path | bytes) -> bool:
    """Whether a file is a TIFF, by its signature, or by its suffix if it has no other signature."""
    named = isinstance(source, Path) and source.suffix.lower() in (*TIFF_SUFFIXES, *SLIDES)
    found = picture_format(pillow.start_of(source))
    return found == "TIFF" or (found is None and named)


def _whole(picture: Picture, orientation: int = 1) -> InMemory:
    """The whole picture, rotated upright."""
    height, width = picture.size
    window = (0, height, 0, width)
    void = picture.void(*window)
    return InMemory(
        upright(picture.read(*window), orientation),
        picture.geo,
        picture.notes,
        None if void is None else upright(void, orientation),
        picture.dtype,
    )


@contextmanager
def _decoded(
    source: Path | bytes,
    channels: ChannelSelection,
    choice: tuple[int, ...] | None,
    scratch: Path | None,
    name: str,
) -> Iterator[Picture]:
    """A picture decoded by Pillow."""
    if channels is not None or choice is not None:
        raw, notes = pillow.read_raw(source)
        if choice is not None:
            if not all(0 <= index < raw.shape[2] for index in choice):
                given = ",".join(str(index + 1) for index in choice)
                raise InputError(f"{name}: expected --channels in 1..{raw.shape[2]}, got {given}")
            raw = raw[..., list(choice)]
        if isinstance(channels, Channels):
            channels.check_kind(raw.shape[2], raw.dtype, name)
        if channels is not None:
            yield InMemory(raw, notes=notes)
            return
        if raw.shape[2] not in (1, 3):
            raise InputError(f"{name}: expected --channels with 3 channels (or 1 for grey), got {raw.shape[2]}")
        colors, assumed = to_8_bit(raw, name)
        rgb = np.broadcast_to(colors, (*raw.shape[:2], 3))
        yield InMemory(np.ascontiguousarray(rgb), notes=(*notes, *assumed))
        return
    pixels, notes = pillow.read_rgb(source, scratch is not None)
    if scratch is None or pixels.nbytes <= pillow.IN_MEMORY:
        yield InMemory(pixels, notes=notes)
        return
    raster = Raster(scratch / "picture.raw", (pixels.shape[0], pixels.shape[1]), 3).create()
    try:
        raster.write(0, pixels)
        del pixels
        yield OnDisk(raster, notes)
    finally:
        raster.path.unlink(missing_ok=True)
