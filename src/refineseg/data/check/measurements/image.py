"""Measuring one picture."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.measurements.edges import working_size
from refineseg.data.check.measurements.measurement import ImageMeasurement
from refineseg.data.images import read_image
from refineseg.data.pictures.open_picture import largest_value, read_picture
from refineseg.data.pictures.pillow import open_image
from refineseg.labels import UInt8

ORIENTATION = 274  # EXIF tag
THUMB = 16
BLANK = 3  # grey levels between darkest and brightest of a blank picture
# First 8 rows of the 32-point cosine transform (DCT-II), unnormalised.
COSINES = np.cos(math.pi * np.arange(8)[:, None] * (2 * np.arange(32) + 1) / 64)


def measure_image(path: Path, files: DatasetFiles) -> tuple[ImageMeasurement, UInt8]:
    """Measurement of a picture, and the picture in grey at the working size. InputError if it cannot be read."""
    mode, orientation = "", 1
    notes: tuple[str, ...] = ()
    if files.data.read_picture is read_image:
        mode, orientation = _header(path)
        picture = read_picture(path)
        pixels, notes = picture.pixels, picture.notes
    else:
        pixels = files.data.read_picture(path)
    size = (pixels.shape[1], pixels.shape[0])
    whole = Image.fromarray(files.visible(pixels)).convert("L")
    low, high = whole.getextrema()
    grey = whole.resize(working_size(*size), Image.Resampling.BOX)
    # A 16-bit picture that was read as 8 bits is opened again.
    largest = int(pixels.max()) if pixels.dtype == np.uint16 else 0
    if mode.startswith("I;16") and not largest:
        largest = int(largest_value(path))
    measured = ImageMeasurement(
        size=size,
        mode=mode,
        orientation=orientation,
        digest=content_digest(pixels),
        thumb=np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.BOX)),
        phash=perceptual_hash(grey),
        blank=float(high) - float(low) <= BLANK,  # type: ignore[arg-type]
        largest=largest,
        notes=notes if not largest else (),
    )
    return measured, np.asarray(grey)


def _header(path: Path) -> tuple[str, int]:
    """Mode and EXIF orientation; "" and 1 if the header cannot be read, which the reader reports."""
    try:
        with open_image(path) as image:
            return image.mode, int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # decoders raise OSError, ValueError, SyntaxError, struct.error ...
        return "", 1


def perceptual_hash(grey: Image.Image) -> int:
    """64-bit pHash: which of the 8x8 lowest DCT frequencies of the picture at 32x32 exceed their median."""
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), np.float64)
    low = (COSINES @ small @ COSINES.T)[:8, :8].ravel()
    bits = low > np.median(low[1:])  # without the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def content_digest(array: NDArray[Any]) -> bytes:
    """Hash of shape, type and content."""
    made = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=12)
    made.update(np.ascontiguousarray(array).data)
    return made.digest()
