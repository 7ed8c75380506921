"""Two processes are as one: weights, batch norm, metrics, checkpoints, evaluation; sharded (FSDP2) or not."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.kill_resume import leaves

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.errors import ConfigError
from refineseg.evaluation.evaluate import evaluate
from refineseg.inference.predictor import Segmenter
from refineseg.labels import LabelMap
from refineseg.loading import load
from refineseg.model.folders.model_folder import ModelCard, load_model_folder, save_model_folder
from refineseg.model.presets import create_model
from refineseg.training.checkpoint import load_checkpoint
from refineseg.training.custom import StopTraining, TrainingEvent
from refineseg.training.loop import train
from refineseg.training.parallel import make_fabric
from tests.data.made import make_folder
from tests.processes import run_together

FROZEN = TrainConfig(
    backbone_weights="none",
    fields={"backbone": "test_resnet", "width": 16, "coarse_width": 16, "dropout": 0.0},
    augment=AugmentConfig(crop=(32, 32)),
    steps=20,
    batch_size=4,
    workers=0,
    optimizer="sgd",  # Adam divides by the size of the gradient, so rounding counts where that is next to nothing
    lr=1e-2,
    ema=0.9,
    class_weights=0.5,  # makes the shares of a batch weigh differently
    freeze_batch_norm=True,
    validate_every=3,
)
LOCAL = dataclasses.replace(FROZEN, steps=12, freeze_batch_norm=False, optimizer="adamw", lr=1e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = make_folder(tmp_path_factory.mktemp("data"), pictures=19)
    (root / "train.txt").write_text("".join(f"p{index}\n" for index in range(16)))
    (root / "val.txt").write_text("p16\np17\np18\n")  # two processes cannot share three equally
    return f"folder:{root}"


@pytest.fixture(scope="module")
def alone(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process that others are compared with."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train(FROZEN, open_data(data), run, device="cpu")
    return run


def train_member(config: TrainConfig, data: str, run: Path, resume: bool = False, stop: int = 0) -> None:
    """What each process does; the first one breaks off after step ``stop``."""

    def watch(report: TrainingEvent) -> None:
        if report.phase == "train" and report.step == stop:
            os._exit(1)

    train(config, open_data(data), run, resume=resume, callbacks=[watch], device="cpu")


def compare(one: Path, other: Path, tolerance: float) -> None:
    """Weights, average, optimiser and log of two runs agree within ``tolerance``; they have the same files."""
    states: list[dict[str, Any]] = [load_checkpoint(run / "checkpoints")[0] for run in (one, other)]
    for part in ("model", "average"):
        torch.testing.assert_close(states[0][part], states[1][part], atol=tolerance, rtol=0)
    moments = [state["optimizer"]["state"] for state in states]
    assert moments[0].keys() == moments[1].keys()
    for key in moments[0]:
        torch.testing.assert_close(moments[0][key], moments[1][key], atol=tolerance, rtol=0)
    logs = [list(csv.DictReader((run / "metrics.csv").open())) for run in (one, other)]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    for mine, theirs in zip(*logs, strict=True):
        for column in ("loss", "mean_iou", "pixel_accuracy"):
            assert bool(mine[column]) == bool(theirs[column])
            if mine[column]:
                assert float(mine[column]) == pytest.approx(float(theirs[column]), abs=max(tolerance, 1e-3))
    assert sorted(path.name for path in one.rglob("*.pt")) == sorted(path.name for path in other.rglob("*.pt"))


def test_ddp_equals_one_process(data: str, alone: Path, tmp_path: Path) -> None:
    assert run_together(train_member, 2, FROZEN, data, tmp_path / "run") == [0, 0]
    compare(alone, tmp_path / "run", 1e-6)
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 5  # one process wrote, once an epoch


@pytest.mark.slow
def test_fsdp_equals_one_process_and_its_checkpoint_serves_any_number(
    data: str, alone: Path, tmp_path: Path
) -> None:
    sharded = dataclasses.replace(FROZEN, strategy="fsdp")
    run = tmp_path / "run"
    assert run_together(train_member, 2, sharded, data, run, False, 10) != [0, 0]
    assert load_checkpoint(run / "checkpoints")[0]["position"]["step"] == 8
    assert run_together(train_member, 2, sharded, data, run, True, 15) != [0, 0]
    assert load_checkpoint(run / "checkpoints")[0]["position"]["step"] == 12
    train(FROZEN, open_data(data), run, resume=True, device="cpu")
    compare(alone, run, 1e-6)
    load_model_folder(run / "last")


@pytest.mark.slow
def test_local_batch_norm_resumes_exactly(data: str, tmp_path: Path) -> None:
    """Each process normalises by its own share; the first one's statistics are kept, also when resumed."""
    assert run_together(train_member, 2, LOCAL, data, tmp_path / "whole") == [0, 0]
    assert run_together(train_member, 2, LOCAL, data, tmp_path / "broken", False, 6) != [0, 0]
    assert run_together(train_member, 2, LOCAL, data, tmp_path / "broken", True) == [0, 0]
    compare(tmp_path / "whole", tmp_path / "broken", 0.0)
    state = load_checkpoint(tmp_path / "whole" / "checkpoints")[0]["model"]
    means = [value for key, value in state.items() if key.endswith("running_mean")]
    assert all(value.abs().max() > 0 for value in means)


def score_member(model: str, data: str, out: Path) -> None:
    from refineseg.system.files import atomic_write
    from refineseg.system.processes import is_first, process_group

    with process_group("cpu"):
        measures = ("boundary", "calibration", "sizes", "distance", "suspects")
        values = evaluate(load(model, "cpu"), open_data(data), measures=measures).to_dict()
    atomic_write(out / f"{'first' if is_first() else 'second'}.json", json.dumps(values))


def test_sharded_evaluation_gives_exactly_the_same_score(data: str, tmp_path: Path) -> None:
    opened = open_data(data)
    torch.manual_seed(0)
    model = create_model("refinenet-lw-mbv2", 3, **FROZEN.fields)
    save_model_folder(tmp_path / "model", model, ModelCard("m", LabelMap.from_dict(opened.label_map.to_dict())))
    assert run_together(score_member, 2, str(tmp_path / "model"), data, tmp_path) == [0, 0]
    measures = ("boundary", "calibration", "sizes", "distance", "suspects")
    segmenter: Segmenter = load(tmp_path / "model", "cpu")
    text = json.dumps(evaluate(segmenter, opened, measures=measures).to_dict())
    for name in ("first", "second"):
        expected = json.loads(text)
        values = json.loads((tmp_path / f"{name}.json").read_text())
        sums = [dict(leaves(item.pop("calibration"))) for item in (values, expected)]  # of confidences: rounded
        assert sums[0] == pytest.approx(sums[1], abs=1e-12)
        assert {**values, "seconds": 0} == {**expected, "seconds": 0}


def test_settings_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not both"):
        dataclasses.replace(FROZEN, sync_batch_norm=True)
    with pytest.raises(ConfigError, match="several processes for strategy fsdp"):
        make_fabric(dataclasses.replace(FROZEN, strategy="fsdp"), "cpu")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="batch size that 3 processes can share, got 4"):
        make_fabric(FROZEN, "cpu")
    with pytest.raises(ConfigError, match="sync_batch_norm on GPUs only"):
        make_fabric(dataclasses.replace(LOCAL, sync_batch_norm=True), "cpu")


@pytest.mark.slow
def test_torchrun_and_the_command_line(data: str, tmp_path: Path) -> None:
    """As a person starts it: what is printed once, and the score of one process."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = tmp_path / "run"
    fields = [f"--set=model.{name}={value}" for name, value in FROZEN.fields.items()]
    options = ["--data", data, "--device", "cpu", "--batch-size", "4", "--steps", "4", "--crop", "32", *fields]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def refineseg(*arguments: str, together: bool = True) -> str:
        command = [*(launch if together else [sys.executable]), "-m", "refineseg", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert refineseg("train", *options, "-o", str(run)).count("val mean IoU") == 1
    score = ["evaluate", "--model", str(run / "last"), "--data", data, "--device", "cpu", "--json"]
    assert refineseg(*score, str(tmp_path / "two.json")).count("protocol:") == 1
    refineseg(*score, str(tmp_path / "one.json"), together=False)
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    one.pop("seconds"), two.pop("seconds")
    assert one == two


def stop_member(config: TrainConfig, data: str, run: Path, phase: str = "") -> None:
    """What each process does; a callback of the first one ends the run in the first ``phase``."""

    def watch(report: TrainingEvent) -> None:
        if report.phase == phase:
            raise StopTraining

    train(config, open_data(data), run, callbacks=[watch], device="cpu")


@pytest.mark.parametrize("phase", ["train", "epoch"])
def test_a_callback_of_the_first_process_ends_all(data: str, tmp_path: Path, phase: str) -> None:
    run = tmp_path / "run"
    config = dataclasses.replace(FROZEN, steps=1000, validate_every=1)
    assert run_together(stop_member, 2, config, data, run, phase) == [0, 0]
    with (run / "metrics.csv").open() as file:
        assert 1 <= int(list(csv.DictReader(file))[-1]["step"]) <= 8


def test_minutes_end_all_processes_at_the_same_step(data: str, tmp_path: Path) -> None:
    config = dataclasses.replace(FROZEN, steps=None, minutes=0.1)
    assert run_together(stop_member, 2, config, data, tmp_path / "run") == [0, 0]
