"""GeoTIFF and scientific TIFF: more than three channels, or more than 8 bits, with masks of numbers beside them.

The files are copied as they are. What a network needs to normalise them, mean and standard deviation per channel,
goes to labels.yaml under ``statistics``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.formats.base import Item, Picture, ReadOptions, Shape, Source
from refineseg.data.formats.classes import by_train_id
from refineseg.data.formats.pair_folders import Pair, folders_of, labels_for, pairs_of
from refineseg.data.images import read_mask
from refineseg.errors import InputError, MissingExtraError
from refineseg.labels import LabelMap, UInt8

SUFFIXES = (".tif", ".tiff")


def fits(src: Path) -> bool:
    """Folders of pictures and of masks, where the first picture is a TIFF that plain readers would cut down."""
    folders = folders_of(src)
    if folders is None:
        return False
    first = next((path for path in sorted(folders[0].rglob("*")) if path.suffix.lower() in SUFFIXES), None)
    return first is not None and is_scientific(first)


def read(src: Path, options: ReadOptions) -> Source:
    """All pairs, with statistics over the pictures that are not held out."""
    pairs = pairs_of(src)
    labels = labels_for(pairs, src, options.labels, "'classes: [water, field]' and 'ignore: [255]'")
    items = [Item(pair.image.stem, pair.image, partial(_paint, pair, labels), pair.split) for pair in pairs]
    used = [pair.image for pair in pairs if pair.split in (None, "train")] or [pair.image for pair in pairs]
    return Source(by_train_id(labels), items, (), _measure, partial(statistics, used))


def is_scientific(path: Path) -> bool:
    """Whether a file is a TIFF with more than 3 channels or more than 8 bits."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        shape, dtype, axis = _layout(path)
    except InputError:
        return False
    return dtype.itemsize > 1 or (axis is not None and shape[axis] > 3)


def read_channels(path: Path) -> NDArray[Any]:
    """A TIFF as HxWxC, values as stored. InputError if it cannot be read."""
    _, _, axis = _layout(path)
    try:
        with tifffile_package().TiffFile(path) as file:
            array = file.series[0].asarray()
    except Exception as error:  # tifffile raises its own, ValueError, struct.error, IndexError ...
        raise _unreadable(path, error) from error
    return np.asarray(array[..., None] if axis is None else np.moveaxis(array, axis, -1))


def statistics(files: Sequence[Path]) -> dict[str, Any]:
    """Mean and standard deviation per channel, one picture in memory at a time.

    Values are divided by the largest that the type of the files can hold (``maximum``; 1 for floats), as 8-bit
    pictures are by 255. Pixels that are not finite numbers (no data) are left out.

    Raises:
        InputError: pictures of different channels or types.
    """
    total = squares = count = np.zeros(0)
    first: tuple[int, np.dtype[Any]] | None = None
    for path in files:
        pixels = read_channels(path)
        kind = (pixels.shape[-1], pixels.dtype)
        if first is None:
            first = kind
            total, squares, count = (np.zeros(kind[0]) for _ in range(3))
        if kind != first:
            raise InputError(
                f"{path}: expected {first[0]} channels of {first[1]} as in {files[0]}, got {kind[0]} of {kind[1]}"
            )
        values = pixels.reshape(-1, kind[0]).astype(np.float64) / _maximum(pixels.dtype)
        valid = np.isfinite(values)
        values = np.where(valid, values, 0.0)
        total, squares, count = total + values.sum(0), squares + (values**2).sum(0), count + valid.sum(0)
    assert first is not None  # a source has pictures
    if not count.all():
        raise InputError(
            f"expected values in every channel, channel {int(np.argmin(count))} of {files[0]} has none"
        )
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
    return {
        "channels": first[0],
        "dtype": str(first[1]),
        "maximum": _maximum(first[1]),
        "mean": [round(float(value), 8) for value in mean],
        "std": [round(float(value), 8) for value in deviation],
    }


def _paint(pair: Pair, labels: LabelMap, _: Shape) -> UInt8:
    if pair.mask.suffix.lower() not in SUFFIXES:
        return labels.encode(read_mask(pair.mask), str(pair.mask))
    mask = read_channels(pair.mask)  # compressions that PIL does not know
    if (
        mask.shape[-1] != 1
        or mask.dtype.kind not in "uib"
        or mask.min(initial=0) < 0
        or mask.max(initial=0) > 65535
    ):
        raise InputError(
            f"{pair.mask}: expected a mask of one channel with whole numbers in 0..65535, "
            f"got {mask.shape[-1]} of {mask.dtype}"
        )
    return labels.encode(mask[..., 0], str(pair.mask))


def _measure(image: Picture) -> Shape:
    assert isinstance(image, Path)  # TIFF pairs are files
    shape, _, axis = _layout(image)
    height, width = (side for index, side in enumerate(shape) if index != axis)
    return height, width


def _layout(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int | None]:
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


def _maximum(dtype: np.dtype[Any]) -> int:
    return int(np.iinfo(dtype).max) if dtype.kind in "ui" else 1


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return InputError(f"cannot read {path} as TIFF ({reason}): is it damaged or another format?")


def tifffile_package() -> Any:
    """The package tifffile, which is an extra; this is the one place that imports it."""
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError("tifffile", "data", "reading TIFF of many channels or by windows") from error
    return tifffile
