from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError, MissingExtraError
from refineseg.training.custom import TrainingEvent
from refineseg.training.tracking.loggers import RunLogger


class Recorder:
    """Stands for a logger's package, its module and its run: keeps every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.id, self.info = "id-1", SimpleNamespace(run_id="id-1")

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **named: Any) -> Recorder:
            self.calls.append((name, {"given": given, **named}))
            return self

        return call


def played(folder: Path, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorder]:
    """The calls that each logger makes in a run of two epochs; the second has no validation."""
    packages = {name: Recorder() for name in names}
    for name, package in packages.items():
        monkeypatch.setitem(sys.modules, name, package)
    run: Any = SimpleNamespace(folder=folder, config=TrainConfig(lr=0.5))
    for logger in map(RunLogger, names):
        logger(TrainingEvent("train", 1, loss=3.0, run=run))
        logger(TrainingEvent("epoch", 2, row={"epoch": 1, "loss": 0.25, "mean_iou": 0.5}, run=run))
        logger(TrainingEvent("epoch", 4, row={"epoch": 2, "loss": float("nan"), "mean_iou": None}, run=run))
        logger(TrainingEvent("end", 4, run=run))
    return packages


def test_rows_and_settings_reach_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    packages = played(tmp_path, ("wandb", "mlflow"), monkeypatch)
    start, *rows, end = packages["wandb"].calls
    assert (start[0], start[1]["project"], start[1]["name"], start[1]["id"]) == (
        "init", "refineseg", tmp_path.name, None,
    )  # fmt: skip
    assert start[1]["config"]["lr"] == 0.5
    expected = [({"epoch": 1.0, "loss": 0.25, "mean_iou": 0.5}, 2), ({"epoch": 2.0}, 4)]
    assert [(call["given"][0], call["step"]) for _, call in rows] == expected
    assert end[0] == "finish"
    project, start, settings, *rows, end = packages["mlflow"].calls
    assert (project[0], project[1]["given"]) == ("set_experiment", ("refineseg",))
    assert (start[0], start[1]["run_id"], start[1]["run_name"]) == ("start_run", None, tmp_path.name)
    assert settings[1]["given"][0]["augment.flip"] == 0.5
    assert [(call["given"][0], call["step"]) for _, call in rows] == expected
    assert end[0] == "end_run"


def test_a_resumed_run_goes_on_under_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played(tmp_path, ("wandb", "mlflow"), monkeypatch)
    packages = played(tmp_path, ("wandb", "mlflow"), monkeypatch)
    assert packages["wandb"].calls[0][1]["id"] == "id-1"
    assert [name for name, _ in packages["mlflow"].calls] == ["start_run", "log_metrics", "log_metrics", "end_run"]
    assert packages["mlflow"].calls[0][1]["run_id"] == "id-1"


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"loggers=\[{name}\].*refineseg\[{name}\]"):
        RunLogger(name)


def test_a_package_that_does_not_start_ends_the_run_at_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow 3 refuses a folder as tracking place, W&B a key that is wrong: one line, before an epoch is over."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such\n  server")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    logger = RunLogger("wandb")
    run: Any = SimpleNamespace(folder=tmp_path, config=TrainConfig())
    with pytest.raises(
        ConfigError, match="wandb did not start: no such server; fix that, or remove it from loggers"
    ):
        logger(TrainingEvent("train", 1, loss=3.0, run=run))


@pytest.mark.parametrize("names", [("comet",), ("wandb", "wandb")])
def test_other_loggers_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="wandb and mlflow"):
        TrainConfig(loggers=names)
