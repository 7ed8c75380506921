"""Untrusted bytes to pixels: the format is found by its signature, the size is checked before decoding."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, features

from refineseg.channels import Channels
from refineseg.data.pictures.open_picture import SIGNATURES, is_tiff, picture_format, read_picture
from refineseg.data.pictures.picture import InMemory
from refineseg.data.pictures.pillow import MAX_SCANS, reads_heic, too_many_scans
from refineseg.data.pictures.tiff_samples import open_samples, pages_within
from refineseg.errors import InputError, MissingExtraError, RefinesegError
from refineseg.serving.problems import Problem
from refineseg.serving.request_options import RequestOptions
from refineseg.system.memory import is_out_of_memory

DECODING_BYTES = 24  # per pixel while decoding: 16-bit pictures go through float64
OVERLAY_BYTES = 56  # per pixel while an overlay is drawn; masks and outlines take less
SCORE_BYTES = 10  # per pixel and class: float32 twice, then float16
MAX_PAGES = 1000  # of a TIFF


def picture_formats() -> tuple[str, ...]:
    """Formats that this installation decodes: HEIC needs pillow-heif, AVIF a Pillow built with it."""
    available = {"AVIF": features.check("avif"), "HEIC": reads_heic()}
    return tuple(name for name in SIGNATURES if available.get(name, True))


def media_types() -> tuple[str, ...]:
    """Media types of ``picture_formats``."""
    return tuple(f"image/{name.lower()}" for name in picture_formats())


@contextmanager
def opened_upload(data: bytes) -> Iterator[Image.Image]:
    """Open a picture and read its header only.

    Raises:
        Problem: 400 if there are no bytes, 415 for another format, 413 for a decompression bomb, 422 for several
            frames and for damage, also while the picture is decoded inside the block.
    """
    if not data:
        raise Problem(400, "expected a picture in the request, got 0 bytes")
    name = picture_format(data) or "something else"
    if name not in picture_formats():
        raise Problem(415, f"expected a picture of {', '.join(picture_formats())}, got {name}: convert it to PNG")
    if name == "JPEG" and too_many_scans(data):
        raise Problem(422, f"expected a JPEG of at most {MAX_SCANS} scans, got more: export it again")
    # Telephones store a second view in a JPEG (MPO); the first is the picture.
    decoders = {"JPEG": ("JPEG", "MPO"), "HEIC": ("HEIF",)}.get(name, (name.upper(),))
    try:
        with Image.open(io.BytesIO(data), formats=decoders) as image:
            if image.format != "MPO" and getattr(image, "is_animated", False):
                raise Problem(422, f"expected a single picture, got a {name} of several frames: send one of them")
            yield image
    except Problem:
        raise
    except Image.DecompressionBombError:
        raise Problem(413, f"expected a smaller picture, got a {name} too large to decode") from None
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error ...
        if is_out_of_memory(error):
            raise
        raise Problem(
            422, f"expected a whole {name}, got one that is damaged or cut off: export it again"
        ) from None


def measure_picture(data: bytes, options: RequestOptions, pixels: int, classes: int) -> int:
    """Bytes of memory that a picture will take, by its header alone.

    Raises Problem (413) for more than ``pixels`` over all scales and flips, else as ``opened_upload``.
    """
    (height, width), decoding = _header(data)
    area = width * height
    if area * options.pixel_factor > pixels:
        views = "" if options.pixel_factor == 1 else f", {options.pixel_factor:.3g} times by scales and flip"
        raise Problem(
            413,
            f"expected at most {pixels / 1e6:.3g} million pixels, got {width}x{height}, {area / 1e6:.3g} million"
            f"{views}: send a smaller picture",
        )
    return area * (max(decoding, OVERLAY_BYTES) + (classes * SCORE_BYTES if options.predict.probabilities else 0))


def _header(data: bytes) -> tuple[tuple[int, int], int]:
    """Height and width, and the bytes per pixel that decoding may take; Problem as ``opened_upload``."""
    if is_tiff(data):  # Pillow cannot read most of those with many channels
        if not pages_within(io.BytesIO(data), MAX_PAGES):
            raise Problem(422, "expected a single picture, got a TIFF of several frames: send one of them")
        try:
            with open_samples(io.BytesIO(data), "the picture") as samples:
                if samples.left_out:
                    raise Problem(422, "expected a single picture, got a TIFF of several frames: send one of them")
                return samples.size, max(DECODING_BYTES, samples.samples * (samples.dtype.itemsize + 8))
        except InputError:
            raise Problem(
                422, "expected a whole TIFF, got one that is damaged or cut off: export it again"
            ) from None
        except MissingExtraError:
            pass
        except (ArithmeticError, ValueError, TypeError, MemoryError):  # numbers in a damaged header
            raise Problem(422, "expected a whole TIFF, got one that is damaged: export it again") from None
    with opened_upload(data) as image:
        return (image.height, image.width), DECODING_BYTES


def decode_picture(
    data: bytes, channels: Channels | None = None, choice: tuple[int, ...] | None = None
) -> InMemory:
    """A picture of any supported format: HxWx3 uint8 RGB, or raw values of a model's ``channels``.

    ``choice`` are the indices of the file's channels to use.

    Raises Problem (422) if the channels do not fit the model; else as ``opened_upload``.
    """
    if not is_tiff(data):
        with opened_upload(data) as image:  # says what is wrong with the file
            image.load()
    try:
        return read_picture(data, channels, choice)
    except RefinesegError as error:
        if is_out_of_memory(error):
            raise
        text = str(error)
        raise Problem(422, text if "expected" in text else f"expected a whole picture: {text}") from None
    except Exception as error:  # damaged headers lead decoders to divide by 0 ...
        if is_out_of_memory(error):
            raise
        raise Problem(422, "expected a whole picture, got one that is damaged: export it again") from None
