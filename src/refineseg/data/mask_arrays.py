"""Masks as arrays of class numbers in .npy, .npz and .mat files.

Headers are checked before anything is allocated, and nothing is unpickled.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from refineseg.data.pictures.pillow import check_regular, decoding
from refineseg.errors import InputError
from refineseg.system.files import open_file
from refineseg.system.matlab import only_matrix

SUFFIXES = frozenset({".npy", ".npz", ".mat"})
LARGEST = 1 << 28  # pixels
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes


def is_array(path: Path) -> bool:
    """Whether a file is an array, by its suffix."""
    return path.suffix.lower() in SUFFIXES


def read_array(path: Path) -> NDArray[Any]:
    """A mask HxW of booleans or whole numbers: uint8 or uint16 if these hold the values, else int32.

    InputError for a missing or damaged file, other than one array, another shape, fractions, or numbers beyond 32
    bits; MissingExtraError for .mat without scipy.
    """
    check_regular(path, "a mask")
    suffix = path.suffix.lower()
    with decoding(str(path), "an array"):
        if suffix == ".mat":
            return _numbers(only_matrix(path, LARGEST), path)
        with open_file(path) as stream:
            if suffix == ".npy":
                return _numbers(_read_npy(stream, os.fstat(stream.fileno()).st_size, path), path)
            with zipfile.ZipFile(stream) as archive:
                members = archive.infolist()
                if len(members) != 1:
                    names = ", ".join(member.filename.removesuffix(".npy") for member in members[:5]) or "none"
                    raise InputError(f"expected one array in {path}, got {len(members)} ({names:.200})")
                if members[0].compress_type not in PLAIN:
                    raise InputError(f"expected {path} as numpy.savez writes it, got another compression")
                with archive.open(members[0]) as member:
                    return _numbers(_read_npy(member, members[0].file_size, path), path)


def _read_npy(stream: IO[bytes], size: int, path: Path) -> NDArray[Any]:
    """An array from a stream of ``size`` bytes."""
    version = npy.read_magic(stream)
    if version not in HEADERS:
        raise InputError(f"expected an array of numbers in {path}, got a record or an unknown version of .npy")
    shape, by_column, dtype = HEADERS[version](stream)
    check_kind(shape, dtype, path)
    count = int(np.prod(shape, dtype=object))
    if count * dtype.itemsize > size:
        raise InputError(
            f"expected {count * dtype.itemsize:,} bytes of numbers in {path} by its header, the file is shorter: "
            "cut off?"
        )
    data = stream.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise InputError(f"expected {count:,} numbers in {path} by its header, it ends earlier: cut off?")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_column else "C")


def check_kind(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    """InputError unless an array may be a mask: HxW or HxWx1 numbers, not too many."""
    if dtype.kind not in "uibf" or dtype.hasobject:
        raise InputError(f"expected a mask of class numbers in {path}, got {dtype}")
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)):
        hint = "; for scores of each class (one-hot) save their argmax" if len(shape) == 3 else ""
        raise InputError(f"expected a mask HxW of class numbers in {path}, got shape {shape}{hint}")
    if 0 in shape:
        raise InputError(f"expected a mask of at least 1x1 pixel in {path}, got shape {shape}")
    if int(np.prod(shape, dtype=object)) > LARGEST:
        raise InputError(f"expected a mask of at most {LARGEST:,} pixels in {path}, got shape {shape}")


def _numbers(array: NDArray[Any], path: Path) -> NDArray[Any]:
    check_kind(array.shape, array.dtype, path)
    mask = array.reshape(array.shape[:2])
    if mask.dtype == np.bool_:
        return mask
    if mask.dtype.kind == "f" and not (np.isfinite(mask).all() and np.array_equal(mask, np.rint(mask))):
        raise InputError(f"expected a mask of whole class numbers, got fractions or no numbers in {path}")
    low, high = mask.min(), mask.max()
    for dtype in (np.uint8, np.uint16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.ascontiguousarray(mask, dtype)
    raise InputError(f"expected class numbers of at most 32 bits in {path}, got {low}..{high}")
