"""Reading TIFF of any number of channels and any type of number; needs the extra ``data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from refineseg.channels import Channels, Pixels
from refineseg.errors import InputError, MissingExtraError

SUFFIXES = (".tif", ".tiff")


def read_channels(path: Path, channels: Channels) -> Pixels:
    """A TIFF as raw values HxWxC; InputError if it cannot be read, or has other channels or another type."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"expected a TIFF of {channels.count} channels of {channels.dtype}, got {path}")
    pixels = read_tiff(path)
    channels.check(pixels, str(path))
    return pixels


def read_tiff(path: Path) -> Pixels:
    """A TIFF as HxWxC, values as stored. InputError if it cannot be read."""
    _, _, axis = tiff_layout(path)
    try:
        with tifffile_package().TiffFile(path) as file:
            array = np.asarray(file.series[0].asarray())
    except Exception as error:  # tifffile raises its own, ValueError, struct.error, IndexError ...
        raise _unreadable(path, error) from error
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    return array[..., None] if axis is None else np.moveaxis(array, axis, -1)


def tiff_shape(path: Path) -> tuple[int, int]:
    """Height and width; header only. InputError if it cannot be read."""
    shape, _, axis = tiff_layout(path)
    height, width = (side for index, side in enumerate(shape) if index != axis)
    return height, width


def is_scientific(path: Path) -> bool:
    """Whether a file is a TIFF with more than 3 channels or more than 8 bits, which RGB would cut down."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        shape, dtype, axis = tiff_layout(path)
    except InputError:
        return False
    return dtype.itemsize > 1 or (axis is not None and shape[axis] > 3)


def tiff_layout(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int | None]:
    """Shape, type and the channels' axis (None for one channel) of a TIFF's first picture; header only."""
    try:
        with tifffile_package().TiffFile(path) as file:
            series = file.series[0]
            shape, dtype, axes = (
                tuple(int(side) for side in series.shape),
                np.dtype(series.dtype),
                str(series.axes),
            )
    except FileNotFoundError as error:
        raise InputError(f"expected a picture, found no file {path}") from error
    except MissingExtraError:
        raise
    except Exception as error:  # tifffile raises its own, ValueError, struct.error, IndexError ...
        raise _unreadable(path, error) from error
    if len(shape) == 2:
        return shape, dtype, None
    if len(shape) != 3:
        raise InputError(f"{path}: expected a TIFF of height, width and channels, got shape {shape}")
    named = next((axes.index(letter) for letter in "SC" if letter in axes), None)
    return shape, dtype, int(np.argmin(shape)) if named is None else named


def tifffile_package() -> Any:
    """The package tifffile, which is an extra; this is the one place that imports it."""
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError("tifffile", "data", "reading TIFF of many channels or by windows") from error
    return tifffile


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(f"cannot read {path} as TIFF ({reason}): is it damaged or another format?")
