"""Reading MATLAB files: the older formats with scipy, version 7.3 (HDF5) with h5py."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import InputError, extra
from refineseg.system.files import open_file

COMPRESSED = 15  # miCOMPRESSED, type of a compressed variable in MATLAB's level 5 MAT-file format
HEADER = 128  # bytes before the first variable
SIZE = slice(32, 40)  # height and width in an unpacked matrix
SLACK = 1 << 16  # bytes of a variable besides its numbers


def read_mat(path: Path, squeeze: bool = True) -> dict[str, Any]:
    """The variables of a .mat file up to version 7.2; structs have their fields as attributes.

    ``squeeze`` removes axes of length 1 from all arrays.

    Raises InputError for files that cannot be read, MissingExtraError without scipy.
    """
    with extra("scipy", "data", f"reading {path.name}"):
        from scipy.io import loadmat
    if not path.is_file():
        raise InputError(f"File not found: {path}")
    try:
        return dict(loadmat(path, squeeze_me=squeeze, struct_as_record=False))
    except NotImplementedError as error:
        raise InputError(f"expected a MATLAB file of version 7.2 or older, {path} is of version 7.3") from error
    except Exception as error:  # scipy raises ValueError, TypeError, OSError, zlib.error ...
        raise InputError(f"cannot read {path} as a MATLAB file ({error}): is it damaged?") from error


def only_matrix(path: Path, most: int) -> NDArray[Any]:
    """The only variable of a .mat file up to version 7.2: a matrix of at most so many numbers.

    InputError for others, also if it unpacks to more bytes than its size tells; MissingExtraError without scipy.
    """
    with extra("scipy", "data", f"reading {path.name}"):
        from scipy.io import whosmat
    _check_unpacked(path, most)
    try:
        found = whosmat(path)
    except NotImplementedError as error:
        raise InputError(
            f"expected a MATLAB file of version 7.2 or older, {path} is of version 7.3: save it with -v7"
        ) from error
    shown = ", ".join(f"{name} ({kind} {'x'.join(map(str, shape))})" for name, shape, kind in found[:5]) or "none"
    if len(found) != 1 or len(found[0][1]) != 2 or found[0][2] in ("struct", "cell", "object", "char", "sparse"):
        raise InputError(f"expected one matrix of class numbers in {path}, got {shown:.200}")
    name, (height, width), _ = found[0]
    if height * width > most:
        raise InputError(f"expected a matrix of at most {most:,} numbers in {path}, got {shown:.200}")
    return np.asarray(read_mat(path, squeeze=False)[name])


def _check_unpacked(path: Path, most: int) -> None:
    """InputError where a compressed variable unpacks to more than a matrix of its size, or of ``most`` numbers.

    scipy would take as much memory, even to list the variables.
    """
    with open_file(path) as stream:
        order = ">" if stream.read(HEADER)[-2:] == b"MI" else "<"
        while len(tag := stream.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            end, unpacker, head, total = stream.tell() + size, zlib.decompressobj(), b"", 0
            while kind == COMPRESSED and not unpacker.eof:
                block = stream.read(min(1 << 12, end - stream.tell()))
                if not block:
                    break
                part = unpacker.decompress(block)  # at most 4 MB
                head, total = head or part[: SIZE.stop], total + len(part)
                size_of = struct.unpack(f"{order}ii", head[SIZE]) if len(head) == SIZE.stop else (0, 0)
                if total > min(max(size_of[0] * size_of[1], 0), most) * 8 + SLACK:
                    raise InputError(
                        f"expected one matrix of class numbers in {path}, got a variable of another kind, or one "
                        "that unpacks to more numbers than it has: is it damaged?"
                    )
            stream.seek(end)


def variable(path: Path, name: str) -> Any:
    """One variable of a .mat file; InputError with the names that are there if it is not."""
    found = read_mat(path)
    if name not in found:
        there = [key for key in found if not key.startswith("__")]
        raise InputError(f"expected the variable {name!r} in {path}, found {there}")
    return found[name]


def integers(values: Any, path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """An array of whole numbers 0..65535 as uint8 or uint16; MATLAB often keeps them as double."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if not np.array_equal(whole, array):
            raise InputError(f"expected whole numbers as labels in {path}, found fractions")
        array = whole
    if array.dtype.kind not in "uifb" or array.min(initial=0) < 0 or array.max(initial=0) > 65535:
        raise InputError(f"expected labels in 0..65535 in {path}, got {array.dtype}")
    return array.astype(np.uint8) if array.max(initial=0) < 256 else array.astype(np.uint16)


@contextmanager
def open_mat73(path: Path) -> Iterator[Any]:
    """An opened MATLAB 7.3 file (h5py.File); its arrays have MATLAB's axes in reverse order."""
    with extra("h5py", "data", f"reading {path.name}"):
        import h5py
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise InputError(f"File not found: {path}") from error
    except OSError as error:
        raise InputError(
            f"cannot read {path} as a MATLAB 7.3 file: is it damaged or of another version?"
        ) from error
    with file:
        yield file


def is_struct(item: Any) -> bool:
    """Whether something in a MATLAB 7.3 file is a struct or an array of structs."""
    return hasattr(item, "keys")


def struct_elements(file: Any, group: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The elements of a struct array of a MATLAB 7.3 file, or of a cell array of structs, with fields ``names``.

    The fields of an array hold references to the values; those of a single struct are the values. An empty array
    has none.

    Raises InputError if the fields are not equally many.
    """
    if not is_struct(group):
        for cell in group[()].T.flat if group.dtype.kind == "O" else ():
            yield from struct_elements(file, file[cell], names)
        return
    columns = []
    for name in names:
        item = group[name]
        references = not is_struct(item) and item.dtype.kind == "O"
        columns.append([file[reference] for reference in item[()].T.flat] if references else [item])
    if len({len(column) for column in columns}) != 1:
        raise InputError(f"expected as many {' as '.join(names)} in {group.name}, got different numbers")
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def array_of(dataset: Any) -> NDArray[Any]:
    """A dataset of a MATLAB 7.3 file with MATLAB's order of axes."""
    empty = dataset.attrs.get("MATLAB_empty", 0)
    return np.zeros(0) if empty else np.asarray(dataset[()].T)


def text_of(dataset: Any) -> str:
    """A text of a MATLAB 7.3 file."""
    return "".join(map(chr, array_of(dataset).T.flat))
