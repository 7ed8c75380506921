"""How long a run is, what ends it, and how it goes on."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from refineseg.cli.main import main
from refineseg.config import TrainConfig
from refineseg.config.yaml import read_yaml
from refineseg.data import SegmentationData
from refineseg.errors import ConfigError, InputError
from refineseg.training import loop, validation
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from refineseg.training.run import Position, Run
from tests.training.test_loop import CONFIG, StopHereError, data, stop_at

__all__ = ["data"]


def rows_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").open()))


def test_patience_ends_a_run_that_does_not_rise(data: SegmentationData, tmp_path: Path) -> None:
    """A rate of nearly nothing: the first validation is the best, two more are waited for."""
    config = dataclasses.replace(CONFIG, steps=60, lr=1e-12, ema=0.0, patience=2, freeze_batch_norm=True)
    reports: list[TrainingEvent] = []
    train(config, data, tmp_path / "run", device="cpu", callbacks=[reports.append])
    rows = rows_of(tmp_path / "run")
    assert len([row for row in rows if row["mean_iou"]]) == 3
    assert int(rows[-1]["step"]) < 60
    assert any("has not risen in 2 validations" in report.note for report in reports)
    assert (tmp_path / "run/curves.png").is_file()


def test_minutes_end_in_time_with_the_rate_at_its_end(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine seconds of a clock that moves on by a fifth whenever it is read, however fast the machine is."""
    clock = SimpleNamespace(perf_counter=(ticks / 5 for ticks in itertools.count()).__next__)
    for module in (loop, validation):
        monkeypatch.setattr(module, "time", clock)
    config = dataclasses.replace(CONFIG, steps=None, minutes=0.15, warmup=0.0)
    reports: list[TrainingEvent] = []
    train(config, data, tmp_path / "run", device="cpu", callbacks=[reports.append])
    last = rows_of(tmp_path / "run")[-1]
    assert float(last["seconds"]) == pytest.approx(9, abs=0.4)  # a step is 0.6 s, a validation 0.2 s
    rates = [report.lr for report in reports if report.phase == "train"]
    assert len(rates) > 10
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates))
    assert rates[-1] < rates[0] / 2


def test_the_time_of_a_gpu_is_that_of_its_work(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU is handed a step in no time and waited for when losses are fetched: --minutes ended far too late."""
    fetch = loop.fetch_losses

    def waits(*given: Any) -> float:
        time.sleep(0.2)
        return fetch(*given)

    monkeypatch.setattr(loop, "fetch_losses", waits)
    config, reports = dataclasses.replace(CONFIG, steps=4, validate_every=100), list[TrainingEvent]()
    train(config, data, tmp_path / "run", device="cpu", callbacks=[reports.append])
    steps = [report for report in reports if report.phase == "train"]
    assert all(report.images_per_second < 2 / 0.2 for report in steps)
    assert float(rows_of(tmp_path / "run")[-1]["seconds"]) > 4 * 0.2


def test_the_speed_of_a_gpu_is_that_since_the_last_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 2.0, 3.0, 4.0, 12.0])
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=times.__next__))
    pace = loop.Pace(batch_size=6)
    for _ in range(2):  # a second for pictures, a second for handing over
        assert pace.lap(for_pictures=True) == pace.lap() == 1.0
    assert pace.lap() == 8.0  # the fetch
    pace.measure(2)
    assert pace.images_per_second == 1.0
    assert pace.waiting == pytest.approx(2 / 12)


def test_a_run_is_validated_at_least_ten_times(data: SegmentationData, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=30, validate_every=1000)
    train(config, data, tmp_path / "run", device="cpu")
    assert [int(row["step"]) for row in rows_of(tmp_path / "run") if row["mean_iou"]] == list(range(3, 31, 3))


@pytest.mark.parametrize(
    ("since", "took", "step", "due"),
    [
        (59.0, 1.0, 21, False),  # neither a tenth of the ten minutes nor five epochs of four steps
        (60.0, 1.0, 21, True),
        (10.0, 1.0, 40, True),  # five epochs
        (8.0, 1.0, 40, False),  # after nine seconds validations take a tenth of the time
        (60.0, 30.0, 21, False),
        (270.0, 30.0, 21, True),
    ],
)
def test_validation_takes_a_tenth_of_the_minutes_at_most(since: float, took: float, step: int, due: bool) -> None:
    position = Position(step=step, seconds=100 + since, validated_seconds=100, validation_seconds=took)
    run = SimpleNamespace(position=position, config=TrainConfig(minutes=10, validate_every=5), per_epoch=4)
    assert Run.validation_is_due.__get__(run) is due


def test_resume_with_more_steps(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(CONFIG, data, run, device="cpu")
    longer = dataclasses.replace(CONFIG, steps=12)
    reports: list[TrainingEvent] = []
    train(longer, data, run, resume=True, device="cpu", callbacks=[reports.append])
    assert [report.step for report in reports if report.phase == "train"] == [7, 8, 9, 10, 11, 12]
    assert any("from step 6 with the schedule of 12 steps" in report.note for report in reports)
    assert read_yaml(run / "config.yaml")["steps"] == 12
    with pytest.raises(ConfigError, match="already done 12 steps"):
        train(dataclasses.replace(CONFIG, steps=9), data, run, resume=True, device="cpu")


def test_accumulating_gives_the_same_weights(data: SegmentationData, tmp_path: Path) -> None:
    """Without batch statistics, four pictures at once and in two parts make the same step, void or not."""
    config = dataclasses.replace(
        CONFIG,
        steps=2,
        batch_size=4,
        freeze_batch_norm=True,
        ema=0.0,
        optimizer="sgd",
        fields={"width": 16, "coarse_width": 16, "dropout": 0.0},
    )
    states = []
    for parts in (1, 2):
        run = tmp_path / str(parts)
        train(dataclasses.replace(config, accumulate=parts), data, run, device="cpu")
        states.append(load_file(run / "last/model.safetensors"))
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=1e-4, atol=1e-6)


def test_a_diverging_run_names_step_and_files_and_keeps_good_weights(
    data: SegmentationData, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(CONFIG, data, run, device="cpu")
    good = load_file(run / "last/model.safetensors")
    wild = dataclasses.replace(CONFIG, lr=1e30, steps=9, clip_norm=0.0, optimizer="sgd", ema=0.0)
    with pytest.raises(InputError, match=r"at step \d+: .*images/p\d.png.*no weights were saved yet"):
        train(wild, data, tmp_path / "wild", device="cpu")
    assert not (tmp_path / "wild/last").exists()

    class Later:
        """A loss that is not finite from the eighth call on."""

        calls = 0

        def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return logits.mean() * (torch.nan if self.calls > 7 else 1.0)

    with pytest.raises(InputError, match=r"is nan at step 8: .*keeps the weights of step 6"):
        train(dataclasses.replace(CONFIG, steps=9), data, tmp_path / "later", device="cpu", loss=Later())
    kept = load_file(tmp_path / "later/last/model.safetensors")
    assert all(bool(value.isfinite().all()) for value in kept.values() if value.is_floating_point())
    assert good.keys() == kept.keys()


def test_a_compiled_network_is_handed_to_fabric(data: SegmentationData, tmp_path: Path, monkeypatch: Any) -> None:
    compiled: list[object] = []

    def note(model: object) -> object:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", note)
    train(dataclasses.replace(CONFIG, steps=1, compile=True), data, tmp_path / "run", device="cpu")
    assert len(compiled) == 1


def test_ctrl_c_says_how_to_go_on_and_resume_knows_the_data(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["train", "--data", f"folder:{data.root}", "-o", str(run), "--steps", "6", "--batch-size", "2"]
    words += ["--crop", "32", "--workers", "0", "--device", "cpu", "--skip-check", "--set", "validate_every=1"]
    words += ["--set", "model.width=16", "--set", "model.coarse_width=16", "--backbone-weights", "none"]
    with monkeypatch.context() as patched:
        from refineseg.cli.train_progress import TrainingProgress

        told = TrainingProgress.__call__

        def interrupt(self: TrainingProgress, report: TrainingEvent) -> None:
            told(self, report)
            if report.phase == "train" and report.step == 4:
                raise KeyboardInterrupt

        patched.setattr(TrainingProgress, "__call__", interrupt)
        assert main(words) == 130
    printed = capsys.readouterr()
    assert f"refineseg train --resume -o {run} --device cpu" in " ".join(printed.err.split())
    assert re.search(r"^machine: cpu, \d+ threads?$", printed.out, re.MULTILINE)
    assert main(["train", "--resume", "-o", str(run), "--device", "cpu"]) == 0
    assert "note: the run continues from step 3" in capsys.readouterr().err
    assert [row["step"] for row in rows_of(run)] == ["3", "6"]


def test_what_does_not_fit() -> None:
    for settings in ({"accumulate": 3}, {"minutes": 0.0}, {"patience": 0}, {"freeze_batch_norm": "half"}):
        with pytest.raises(ConfigError):
            TrainConfig.from_dict({"batch_size": 4} | settings)
    _ = StopHereError, stop_at
