"""Checkpoints: whole or refused, and a disk that is full ends the run with the last one whole."""

from __future__ import annotations

import dataclasses
import errno
import os
import resource
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from benchmarks.kill_resume import differences

import refineseg.system.files
from refineseg.data import SegmentationData
from refineseg.errors import WeightsError, WriteError
from refineseg.model.folders.model_folder import write_weights
from refineseg.system.files import unfinished_in
from refineseg.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from tests.training.test_loop import CONFIG, data

__all__ = ["data"]  # the fixture
SMALL = dataclasses.replace(
    CONFIG,
    backbone_weights="none",
    fields={"backbone": "test_efficientnet", "width": 16, "coarse_width": 16},
    steps=6,
)


def save(folder: Path, step: int) -> Path:
    return save_checkpoint(folder, step, {"step": step, "weight": torch.arange(5000.0) * step})


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def other_hash(path: Path) -> None:
    path.with_suffix(".sha256").write_text("0" * 64 + "\n")


def garbled_hash(path: Path) -> None:
    path.with_suffix(".sha256").write_bytes(b"\xff\xfe\x00")


def no_hash(path: Path) -> None:
    path.with_suffix(".sha256").unlink()


@pytest.mark.parametrize("spoil", [torn, flipped, longer, other_hash, garbled_hash, no_hash])
def test_a_spoilt_checkpoint_gives_way_to_the_one_before(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    older, newer = save(tmp_path, 3), save(tmp_path, 6)
    spoil(newer)
    state, refused = load_checkpoint(tmp_path)
    assert state["step"] == 3
    assert [line.split()[0] for line in refused] == [newer.name]
    spoil(older)
    with pytest.raises(WeightsError, match=f"{newer.name}.*{older.name}.*start again"):
        load_checkpoint(tmp_path)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (3, 6, 9):
        save(tmp_path, step)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000009.pt", "step-00000006.pt"]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    save_checkpoint(tmp_path, 3, {"call": os.getcwd})
    assert path.is_file()
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_checkpoint(tmp_path)


def break_at(data: SegmentationData, run: Path, fill: Callable[[], object]) -> None:
    """Train until the disk, filled in the second epoch, refuses something."""

    def watch(report: TrainingEvent) -> None:
        if report.phase == "train" and report.step == 4:
            fill()

    with pytest.raises(WriteError, match=r"cannot write .*(No space|space left).*free space"):
        train(SMALL, data, run, callbacks=[watch], device="cpu")
    assert load_checkpoint(run / "checkpoints")[0]["position"]["step"] == 3
    assert not unfinished_in(run)


PARTS = [
    ".writing-*-last/new/model.safetensors",
    ".writing-*-metrics.csv",
    ".writing-*-events.*",
    ".writing-*-step-*.pt",
    ".writing-*-step-*.sha256",
]


@pytest.mark.parametrize("name", PARTS)
def test_a_full_disk_at_any_write(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each kind of file in turn is the one that the system has no room for."""
    flush, full = refineseg.system.files._flush, threading.Event()

    def flush_or_refuse(path: Path) -> None:
        if full.is_set() and path.match(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(path)

    monkeypatch.setattr(refineseg.system.files, "_flush", flush_or_refuse)
    break_at(data, tmp_path / "run", full.set)


def test_what_torch_and_safetensors_hide(tmp_path: Path) -> None:
    """Both turn the system's error into one of their own; here it comes from a limit on the size of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"cannot write .*File too large"):
            save_checkpoint(tmp_path, 3, {"weight": torch.zeros(100_000)})
        with pytest.raises(WriteError, match=r"cannot write .*File too large"):
            write_weights(tmp_path / "model.safetensors", {"weight": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.glob("*.pt"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB; skips where it cannot be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("room", [0, 500_000, 1_000_000])
def test_a_disk_that_is_really_full(data: SegmentationData, tmp_path: Path, small_disk: Path, room: int) -> None:
    """Room for nothing, for a model folder, for all but the checkpoint; with space again the run ends as ever."""
    ballast = small_disk / "ballast"

    def fill() -> None:
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - room))

    break_at(data, small_disk / "run", fill)
    ballast.unlink()
    train(SMALL, data, small_disk / "run", resume=True, device="cpu")
    train(SMALL, data, tmp_path / "whole", device="cpu")
    assert not differences(tmp_path / "whole", small_disk / "run")
