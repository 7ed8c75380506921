"""Several seeds: as many single runs, one after another, with mean and spread by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from refineseg.cli.main import main
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.errors import InputError
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from refineseg.training.repeats import Repeat, Repeats, train_repeats
from tests.data.made import make_folder

CONFIG = TrainConfig(
    fields={"width": 8, "coarse_width": 8},
    augment=AugmentConfig(crop=(32, 32)),
    steps=2,
    batch_size=2,
    workers=0,
    seed=3,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make_folder(tmp_path, pictures=4)
    (made / "train.txt").write_text("p0\np1\n")
    (made / "val.txt").write_text("p2\np3\n")
    return made


@pytest.fixture
def data(root: Path) -> SegmentationData:
    return open_data(f"folder:{root}")


def test_mean_and_spread_by_hand() -> None:
    runs = [Repeat(seed, "", value, 0.0, 0.0) for seed, value in enumerate((0.5, 0.6, 0.7))]
    spread = Repeats(tuple(runs), "mean_iou").spread()
    assert math.isclose(spread.mean, 0.6)
    assert math.isclose(spread.std, 0.1)  # sqrt((0.01 + 0 + 0.01) / 2)
    assert (spread.low, spread.high) == (0.5, 0.7)
    assert str(spread) == "0.6000 +- 0.1000 (0.5000 to 0.7000)"
    assert Repeats(tuple(runs[:1]), "mean_iou").spread().std == 0.0


def test_best_is_by_the_chosen_metric() -> None:
    runs = (Repeat(0, "seed-0", 0.5, 0.9, 0.6), Repeat(1, "seed-1", 0.6, 0.8, 0.7))
    assert Repeats(runs, "mean_iou").best.seed == 1
    assert Repeats(runs, "pixel_accuracy").best.seed == 0


def test_each_run_is_that_of_its_seed(data: SegmentationData, tmp_path: Path) -> None:
    alone = train(dataclasses.replace(CONFIG, seed=4), data, tmp_path / "alone", device="cpu")
    repeats = train_repeats(CONFIG, data, tmp_path / "runs", 2, device="cpu")
    assert [run.seed for run in repeats.runs] == [3, 4]
    assert repeats.runs[1].mean_iou == alone.scores.mean_iou
    assert (tmp_path / "runs" / repeats.best.folder / "best" / "model.safetensors").is_file()
    written = json.loads((tmp_path / "runs" / "repeats.json").read_text())
    assert [run["mean_iou"] for run in written["runs"]] == [run.mean_iou for run in repeats.runs]
    assert written["spread"]["mean_iou"]["mean"] == repeats.spread().mean


def test_resumed_equals_uninterrupted(data: SegmentationData, tmp_path: Path) -> None:
    class StopHereError(Exception):
        pass

    seen: list[int] = []

    def watch(report: TrainingEvent) -> None:
        if seen == [3, 4] and report.phase == "train" and report.step == 1:
            raise StopHereError

    whole = train_repeats(CONFIG, data, tmp_path / "whole", 3, device="cpu")
    broken = tmp_path / "broken"
    with pytest.raises(StopHereError):
        train_repeats(CONFIG, data, broken, 3, each=seen.append, callbacks=[watch], device="cpu")
    assert len(json.loads((broken / "repeats.json").read_text())["runs"]) == 1  # what was known is not lost
    with pytest.raises(InputError, match="--resume"):
        train_repeats(CONFIG, data, broken, 3, device="cpu")
    steps: list[Any] = []
    again = train_repeats(
        CONFIG,
        data,
        broken,
        3,
        resume=True,
        device="cpu",
        callbacks=[lambda report: steps.append(report.step) if report.phase == "train" else None],
    )
    assert again == whole
    assert steps == [1, 2, 1, 2]  # the finished run is not trained again


def test_fewer_than_two_are_refused(data: SegmentationData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 or more --repeats, got 1"):
        train_repeats(CONFIG, data, tmp_path / "runs", 1, device="cpu")
    assert not (tmp_path / "runs").exists()


def test_several_processes_are_refused(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process with --repeats"):
        train_repeats(CONFIG, data, tmp_path / "runs", 2, device="cpu")


def test_on_the_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "runs"
    words = ["train", "--data", f"folder:{root}", "-o", str(run), "--steps", "1", "--batch-size", "2"]
    words += ["--crop", "32", "--workers", "0", "--set", "model.width=8", "--set", "model.coarse_width=8"]
    assert main([*words, "--skip-check", "--repeats", "2"]) == 0
    said = capsys.readouterr().out
    assert "val mean IoU of 2 runs: " in said
    assert "seed-1: val mean IoU" in said
