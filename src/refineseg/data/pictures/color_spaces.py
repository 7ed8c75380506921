"""Conversion of samples to 8-bit RGB, by the colour space in the header (TIFF 6.0)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.errors import InputError
from refineseg.labels import UInt8

DEPTHS = (10, 12, 14, 16)  # bits of usual sensors, and of the file
DARKEST = 512  # a smaller maximum means a dark picture and says nothing about the depth
COLORS = {  # samples per colour, by photometric interpretation
    "MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "CIELAB": 3, "ICCLAB": 3, "SEPARATED": 4,
}  # fmt: skip
DECODED = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})  # compressions that do not convert YCbCr
LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, TIFF's default
FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


def used_bits(largest: float) -> int:
    """The smallest of DEPTHS that holds the largest value; 16 if that value is too small to tell."""
    if largest < DARKEST:
        return DEPTHS[-1]
    return next((bits for bits in DEPTHS if largest < 1 << bits), DEPTHS[-1])


def white_of(
    dtype: np.dtype[Any], bits: int, find_largest: Callable[[], float], name: str
) -> tuple[float, tuple[str, ...]]:
    """The value of white, and a note on what was assumed, if anything. InputError if white is not known.

    ``bits`` is per sample as stored, such as 12 for packed samples. ``find_largest`` returns the largest value of
    the whole picture, without no-data; it is called only where the type does not decide.
    """
    if dtype.kind in "ub" and (dtype.itemsize == 1 or bits < 8 * dtype.itemsize):
        return float((1 << min(bits, 8 * dtype.itemsize)) - 1), ()
    largest = find_largest()
    if dtype.kind == "f" and largest <= 1:
        return 1.0, ("floating-point values up to 1: read as 0 for black to 1 for white",)
    if dtype != np.uint16 and largest <= 255:
        return 255.0, (f"{dtype.name} values up to {largest:g}: read as 0 for black to 255 for white",)
    if largest > 65535:
        raise InputError(
            f"{name}: expected values in 0..65535 or 0..1, got {dtype.name} up to {largest:g}: "
            "scale them to 0..255 first"
        )
    used = used_bits(largest)
    white = (1 << used) - 1
    if largest < DARKEST:
        return 65535.0, (f"16-bit values up to {largest:g} of 65535: nearly black, unless fewer bits are meant",)
    if used == 16 and dtype == np.uint16:
        return 65535.0, ()
    return float(white), (f"{dtype.name} values up to {largest:g}: read as {used}-bit, {white} for white",)


def to_8_bit(values: NDArray[Any], name: str) -> tuple[UInt8, tuple[str, ...]]:
    """A whole picture of any type to 0..255, and a note on what was assumed; errors as ``white_of``."""
    bits = 8 * values.dtype.itemsize
    white, notes = white_of(values.dtype, bits, lambda: float(values[np.isfinite(values)].max(initial=0)), name)
    return to_bytes(values, white), notes


def to_bytes(samples: NDArray[Any], white: float) -> UInt8:
    """Samples to 0..255, ``white`` to 255, clipped; NaN becomes black."""
    if samples.dtype == np.uint8 and white == 255:
        return samples
    scaled = np.nan_to_num(samples.astype(np.float32), posinf=white) * np.float32(255 / white)
    return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)


def to_rgb(colors: UInt8, page: Any) -> UInt8:
    """HxWxC samples (0..255, or palette indices) in the colour space of a tifffile page to HxWx3 RGB."""
    kind = page.photometric.name
    if kind == "PALETTE":
        table = np.asarray(page.colormap) >> 8
        return np.ascontiguousarray(table.astype(np.uint8).T[colors[..., 0]])
    if kind == "MINISWHITE":
        colors = 255 - colors
    if kind == "SEPARATED":
        ink = colors.astype(np.uint16)
        return np.asarray((255 - ink[..., :3]) * (255 - ink[..., 3:]) / 255 + 0.5, np.uint8)
    if kind in ("CIELAB", "ICCLAB"):
        signed = kind == "CIELAB"  # a and b in two's complement, as in Pillow; ICCLAB has an offset
        data = colors if signed else colors ^ np.array([0, 128, 128], np.uint8)
        lab = Image.frombytes("LAB", data.shape[1::-1], np.ascontiguousarray(data).tobytes())
        return np.asarray(lab.convert("RGB"))
    if kind == "YCBCR" and int(page.compression) in DECODED:
        return _from_ycbcr(colors, _tag(page, 529, LUMA), _tag(page, 532, FULL_RANGE))
    return np.repeat(colors, 3, axis=2) if colors.shape[2] == 1 else colors


def over_white(rgb: UInt8, alpha: UInt8, premultiplied: bool) -> UInt8:
    """HxWx3 with HxWx1 alpha, composited over white."""
    share = alpha.astype(np.float32) / 255
    color = rgb if premultiplied else rgb * share
    return np.asarray(np.clip(np.rint(color + 255 * (1 - share)), 0, 255), np.uint8)


def _from_ycbcr(colors: UInt8, luma: Sequence[float], limits: Sequence[float]) -> UInt8:
    """TIFF 6.0, section 21: to full range by ReferenceBlackWhite, then by the luma coefficients."""
    values = colors.astype(np.float32)
    y = (values[..., 0] - limits[0]) * (255 / (limits[1] - limits[0]))
    blue = (values[..., 1] - limits[2]) * (127 / (limits[3] - limits[2]))
    red = (values[..., 2] - limits[4]) * (127 / (limits[5] - limits[4]))
    r = y + red * (2 - 2 * luma[0])
    b = y + blue * (2 - 2 * luma[2])
    g = (y - luma[2] * b - luma[0] * r) / luma[1]
    return np.asarray(np.clip(np.rint(np.stack([r, g, b], axis=-1)), 0, 255), np.uint8)


def _tag(page: Any, code: int, usual: tuple[float, ...]) -> tuple[float, ...]:
    """A tag of rational numbers, which tifffile returns as numerators and denominators."""
    if code not in page.tags:
        return usual
    values = [float(value) for value in np.ravel(page.tags[code].value)]
    if len(values) == 2 * len(usual):
        values = [a / b if b else 0.0 for a, b in zip(values[::2], values[1::2], strict=True)]
    return tuple(values) if len(values) == len(usual) else usual
