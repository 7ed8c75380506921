"""Reading .mat files, and what is said of those that cannot be read."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from refineseg.errors import InputError, MissingExtraError
from refineseg.system.matlab import integers, open_mat73, read_mat, variable


def test_variables_are_read_and_named_if_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"LabelMap": np.array([[1.0, 2.0]]), "other": 1})
    assert integers(variable(path, "LabelMap"), path).tolist() == [1, 2]
    with pytest.raises(InputError, match=r"'names'.*\['LabelMap', 'other'\]"):
        variable(path, "names")


def test_integers_take_doubles_but_no_fractions() -> None:
    where = Path("a.mat")
    assert integers(np.array([255.0]), where).dtype == np.uint8
    assert integers(np.array([256.0]), where).dtype == np.uint16
    for bad in ([0.5], [-1.0], [70000.0]):
        with pytest.raises(InputError, match=r"a\.mat"):
            integers(np.array(bad), where)


def test_damaged_missing_and_other_versions(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mat"
    damaged.write_bytes(b"not MATLAB" * 50)
    with pytest.raises(InputError, match="damaged"):
        read_mat(damaged)
    with pytest.raises(InputError, match="File not found"):
        read_mat(tmp_path / "nowhere.mat")
    with pytest.raises(InputError, match="damaged"), open_mat73(damaged):
        pass
    with pytest.raises(InputError, match="File not found"), open_mat73(tmp_path / "nowhere.mat"):
        pass
    newer = tmp_path / "newer.mat"
    with h5py.File(newer, "w", userblock_size=512) as file:
        file["x"] = [1]
    with newer.open("r+b") as stream:  # MATLAB 7.3's header
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    with pytest.raises(InputError, match=r"version 7\.3"):
        read_mat(newer)
    with open_mat73(newer) as file:
        assert list(file["x"]) == [1]


def test_absent_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("scipy", "h5py"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"scipy.*refineseg\[data\]"):
        read_mat(tmp_path / "a.mat")
    with pytest.raises(MissingExtraError, match="h5py"), open_mat73(tmp_path / "a.mat"):
        pass
