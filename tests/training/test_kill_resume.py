"""A training killed by SIGKILL at random moments and resumed ends as the uninterrupted one, bit by bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from benchmarks.kill_resume import CONFIG, differences, in_peace, make_data, trial

from refineseg.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint

SMALL = dataclasses.replace(CONFIG, backbone_weights="none", fields={**CONFIG.fields, "backbone": "test_resnet"})


def test_two_kills(tmp_path: Path) -> None:
    done = trial(2, 0, 0, tmp_path, SMALL)
    assert len(done.kills) == 2
    assert not done.differences


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("workers", [0, 2])
def test_ten_kills(tmp_path: Path, workers: int) -> None:
    done = trial(10, workers, 1, tmp_path)
    assert len(done.kills) == 10
    assert not done.differences


@pytest.mark.slow
def test_what_differs_is_found(tmp_path: Path) -> None:
    """The comparison itself can fail: another seed, one changed bit, a lost line."""
    data = make_data(tmp_path / "data")
    config = dataclasses.replace(SMALL, epochs=2)
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        in_peace(dataclasses.replace(config, seed=seed), data, tmp_path / name)
    assert not differences(tmp_path / "one", tmp_path / "same")
    assert any("checkpoint: .model" in line for line in differences(tmp_path / "one", tmp_path / "other"))
    folder = tmp_path / "same" / "checkpoints"
    state, _ = load_checkpoint(folder)
    weight = next(iter(state["average"].values()))
    weight.view(torch.int32).flatten()[0] ^= 1
    save_checkpoint(folder, int(checkpoints(folder)[0].stem[5:]), state)
    lines = (tmp_path / "same" / "metrics.csv").read_text().splitlines(keepends=True)
    (tmp_path / "same" / "metrics.csv").write_text("".join(lines[:-1]))
    found = differences(tmp_path / "one", tmp_path / "same")
    assert [line.partition(".")[0] for line in found] == ["checkpoint: ", "metrics"]
