"""Hostile and damaged .npy, .npz and .mat masks: bounded memory, nothing unpickled, one line."""

from __future__ import annotations

import io
import resource
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from refineseg.data import read_mask
from refineseg.errors import InputError, MissingExtraError
from tests.data.formats.fuzz import one_line_or_nothing
from tests.data.test_mask_arrays import MASK, WRITERS, mat


@pytest.mark.parametrize("kind", WRITERS)
def test_no_part_of_a_file_is_read_as_a_mask(tmp_path: Path, kind: str) -> None:
    whole = WRITERS[kind](tmp_path / f"a.{kind}", np.arange(12, dtype=np.uint8).reshape(3, 4)).read_bytes()
    path = tmp_path / f"cut.{kind}"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            read_mask(path)
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)


def of_shape(shape: tuple[int, ...]) -> bytes:
    """A .npy with 16 bytes of numbers whose header promises a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": "<i8"})
    return stream.getvalue() + bytes(16)


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape, words in (
        ((10_000, 10_000), "expected 800,000,000 bytes .* cut off"),
        ((1 << 40, 1 << 40), "at most 268,435,456 pixels"),
        ((-1, -2), "a.np"),
    ):
        (tmp_path / "a.npy").write_bytes(of_shape(shape))
        with pytest.raises(InputError, match=words):
            read_mask(tmp_path / "a.npy")
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("arr_0.npy", of_shape(shape))
        with pytest.raises(InputError, match=words):
            read_mask(tmp_path / "a.npz")
    zeros = bytes(1 << 20)
    bomb = zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED)
    with bomb, bomb.open("arr_0.npy", "w") as member:
        member.write(of_shape((1 << 15, 1 << 15)))
        for _ in range(400):
            member.write(zeros)
    with pytest.raises(InputError, match="at most 268,435,456 pixels"):
        read_mask(tmp_path / "bomb.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_a_matlab_file_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"m": np.zeros((3, 4), np.uint8)})
    plain = (tmp_path / "a.mat").read_bytes()
    at = plain.index(struct.pack("<II", 2, 12))
    packer = zlib.compressobj()
    parts = [packer.compress(plain[128:at] + struct.pack("<II", 2, 400 << 20))]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(400)]
    packed = b"".join([*parts, packer.flush()])
    (tmp_path / "a.mat").write_bytes(plain[:128] + struct.pack("<II", 15, len(packed)) + packed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="unpacks to more numbers than it has"):
        read_mask(tmp_path / "a.mat")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "a.npy", np.array([[Trap()]], object), allow_pickle=True)
    with pytest.raises(InputError, match="got object"):
        read_mask(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_files_give_a_mask_or_one_line(
    tmp_path: Path, kind: str, changes: list[tuple[float, int]]
) -> None:
    data = bytearray(WRITERS[kind](tmp_path / f"a.{kind}", MASK).read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    (tmp_path / f"b.{kind}").write_bytes(data)
    one_line_or_nothing(lambda: read_mask(tmp_path / f"b.{kind}"))


def test_without_scipy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = mat(tmp_path / "a.mat", MASK)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match=r"scipy, .*refineseg\[data\]"):
        read_mask(path)
