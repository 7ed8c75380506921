"""Files of other programs: tensors are read, code is not run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from refineseg.errors import WeightsError
from refineseg.model.tensors.checkpoints import read_checkpoint
from tests.shared import shared


class Bomb:
    """Makes a folder when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_reads_new_and_old_pickles_and_safetensors(tmp_path: Path) -> None:
    state = {"module.a": torch.arange(3.0), "module.b": torch.ones(2, 2)}
    torch.save(state, tmp_path / "new.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "new.safetensors")
    for name in ("new.pth", "old.pth", "new.safetensors"):
        read = read_checkpoint(tmp_path / name)
        assert list(read) == ["a", "b"]
        assert torch.equal(read["a"], torch.arange(3.0))


def test_a_prefix_stays_unless_all_names_have_it(tmp_path: Path) -> None:
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "file.pth")
    assert list(read_checkpoint(tmp_path / "file.pth")) == ["module.a", "b"]


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path: Path) -> None:
    torch.save({"a": Bomb(tmp_path / "ran")}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError, match=r"asks to run posix\.mkdir"):
        read_checkpoint(tmp_path / "bomb.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", [np.float64(0.4), np.float32(1.5), np.int64(3), np.bool_(True)])
def test_numpy_scalars_beside_the_weights_are_read(tmp_path: Path, number: np.generic) -> None:
    """As the ports' own training writes them: a best score of numpy's."""
    torch.save({"segmenter": {"a": torch.ones(2)}, "best_val": number}, tmp_path / "file.pth.tar")
    assert list(read_checkpoint(tmp_path / "file.pth.tar")) == ["a"]


@pytest.mark.parametrize(
    "thing", [np.ones(2), np.array([print], object), np.datetime64("2020-01-01"), np.str_("a")]
)
def test_other_things_of_numpy_are_refused(tmp_path: Path, thing: Any) -> None:
    torch.save({"segmenter": {"a": torch.ones(2)}, "best_val": thing}, tmp_path / "file.pth.tar")
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "file.pth.tar")


def test_a_strangers_checkpoint_is_read() -> None:
    path = shared("inputs/strangers/ckpt/minimal_numpy_best_val.pth.tar")
    assert read_checkpoint(path)


def test_a_pickle_with_more_than_tensors_is_refused_with_the_reason(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "args": argparse.Namespace(lr=1)}, tmp_path / "args.pth")
    with pytest.raises(WeightsError, match=r"argparse\.Namespace"):
        read_checkpoint(tmp_path / "args.pth")


@pytest.mark.parametrize("cut", [0, 1, 60, 200, -1, -100])
@pytest.mark.parametrize("new", [True, False])
def test_damaged_files_are_told(tmp_path: Path, cut: int, new: bool) -> None:
    torch.save({"a": torch.zeros(500)}, tmp_path / "whole.pth", _use_new_zipfile_serialization=new)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:cut])
    with pytest.raises(WeightsError, match="cannot read") as caught:
        read_checkpoint(tmp_path / "cut.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[torch.zeros(1)], {"epoch": 3}, {"state_dict": {"a": 1}}, {}])
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match="expected named tensors"):
        read_checkpoint(tmp_path / "file.pth")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="File not found"):
        read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"xx")
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(tmp_path / "bad.safetensors")
