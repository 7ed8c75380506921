"""Range, mean and deviation of each channel over a set of pictures of any channels and depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.pictures.open_picture import open_picture
from refineseg.errors import InputError
from refineseg.system.text import counted

Floats = NDArray[np.float64]


def statistics(files: Sequence[Path]) -> dict[str, Any]:
    """The Channels of some pictures as plain values; one picture is in memory at a time.

    Unsigned integers are divided by the maximum of their type, as 8-bit pictures are. For other types the
    minimum and maximum of each channel map to 0 and 1. No-data (GDAL's value, internal mask, transparent, not
    finite) is left out. The first three channels are shown, or the first one if there are fewer. InputError for
    pictures of different channels or types, or a channel without data.
    """
    parts = [_figures(path) for path in files]
    dtype, first = parts[0]
    for path, (kind, figures) in zip(files, parts, strict=True):
        if (kind, figures.shape) != (dtype, first.shape):
            raise InputError(
                f"{path}: expected {counted(first.shape[1], 'channel')} of {dtype} as in {files[0]}, "
                f"got {figures.shape[1]} of {kind}"
            )
    counts, sums, squares, lows, highs = np.stack([figures for _, figures in parts], axis=1)
    count = counts.sum(0)
    if not count.all():
        raise InputError(
            f"expected values in every channel, channel {int(np.argmin(count))} of {files[0]} has none"
        )
    mean = sums.sum(0) / count
    # About each picture's mean, so that large offsets (metres above sea level) cost no precision.
    apart = counts * (sums / np.maximum(counts, 1) - mean) ** 2
    deviation = np.sqrt((squares + apart).sum(0) / count)
    low, high = lows.min(0), highs.max(0)
    if dtype.kind == "u":
        low, high = np.zeros_like(mean), np.full_like(mean, np.iinfo(dtype).max)
    span = np.where(high > low, high - low, 1.0)  # a constant channel has no information
    return {
        "dtype": dtype.name,
        "low": _rounded(low),
        "high": _rounded(low + span),
        "mean": _rounded((mean - low) / span),
        "std": _rounded(np.where(deviation > 0, deviation / span, 1.0)),
        "shown": [0, 1, 2] if len(mean) >= 3 else [0, 0, 0],
    }


def _figures(path: Path) -> tuple[np.dtype[Any], Floats]:
    """Type of a picture's values, and 5xC by channel: count, sum, squared deviations, minimum, maximum."""
    with open_picture(path, "any") as picture:
        height, width = picture.size
        pixels, dtype = picture.read(0, height, 0, width), picture.dtype
    values = pixels.reshape(-1, pixels.shape[-1]).astype(np.float64)
    valid = np.isfinite(values)
    count = valid.sum(0).astype(np.float64)
    total = np.where(valid, values, 0.0).sum(0)
    about = np.where(valid, values - total / np.maximum(count, 1), 0.0)
    low, high = np.where(valid, values, np.inf).min(0), np.where(valid, values, -np.inf).max(0)
    return dtype, np.stack([count, total, (about**2).sum(0), low, high])


def _rounded(values: Floats) -> list[float]:
    """Twelve significant digits, which are precise enough and readable."""
    return [float(f"{value:.12g}") for value in values]
