"""Callbacks that log to Weights & Biases or MLflow, for the setting ``loggers``.

Called directly, since Fabric has no such loggers and Lightning's need pytorch-lightning.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refineseg.errors import ConfigError, extra
from refineseg.system.files import atomic_write
from refineseg.training.custom import Callback, TrainingEvent

if TYPE_CHECKING:
    from refineseg.training.run import Run

PROJECT = "refineseg"  # unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME is set
IDS = "loggers.json"  # in the run's folder: run ids by logger, for resuming


class WandbLogger:
    """Logs rows of metrics.csv to Weights & Biases, configured by its environment variables."""

    def __init__(self) -> None:
        with extra("wandb", "wandb", "loggers=[wandb]"):
            import wandb
        self.package: Any = wandb
        self.run: Any = None

    def __call__(self, event: TrainingEvent) -> None:
        """Start at the first step, log rows, and finish."""
        if event.run is not None and self.run is None:
            with starting("wandb"):
                self.run = self._start(event.run)
        if event.row is not None:
            self.run.log(_numbers(event), step=event.step)
        if event.phase == "end" and self.run is not None:
            self.run.finish()

    def _start(self, run: Run) -> Any:
        started = self.package.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.folder.name,
            dir=run.folder,
            config=run.config.to_dict(),
            id=_kept(run.folder, "wandb"),
            resume="allow",
        )
        _keep(run.folder, "wandb", started.id)
        return started


class MLflowLogger:
    """Logs rows of metrics.csv to MLflow, configured by its environment variables."""

    def __init__(self) -> None:
        with extra("mlflow", "mlflow", "loggers=[mlflow]"):
            import mlflow
        self.package: Any = mlflow
        self.run: Any = None

    def __call__(self, event: TrainingEvent) -> None:
        """Start at the first step, log rows, and finish."""
        if event.run is not None and self.run is None:
            with starting("mlflow"):
                self.run = self._start(event.run)
        if event.row is not None:
            self.package.log_metrics(_numbers(event), step=event.step)
        if event.phase == "end" and self.run is not None:
            self.package.end_run()

    def _start(self, run: Run) -> Any:
        known = _kept(run.folder, "mlflow")
        if known is None and "MLFLOW_EXPERIMENT_NAME" not in os.environ:
            self.package.set_experiment(PROJECT)
        started = self.package.start_run(run_id=known, run_name=None if known else run.folder.name)
        if known is None:
            self.package.log_params(_flat(run.config.to_dict()))
        _keep(run.folder, "mlflow", started.info.run_id)
        return started


LOGGERS: dict[str, type[WandbLogger] | type[MLflowLogger]] = {"wandb": WandbLogger, "mlflow": MLflowLogger}


@contextmanager
def starting(name: str) -> Iterator[None]:
    """ConfigError for any error of a logger's package at the start, such as no account or server."""
    try:
        yield
    except Exception as error:  # each package has its own
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{name} did not start: {reason}; fix that, or remove it from loggers") from error


def make_loggers(names: tuple[str, ...]) -> list[Callback]:
    """The loggers of a run; MissingExtraError if a package is not installed."""
    return [LOGGERS[name]() for name in names]


def _numbers(event: TrainingEvent) -> dict[str, float]:
    row = event.row or {}
    return {name: float(value) for name, value in row.items() if value is not None and math.isfinite(value)}


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings flattened, such as ``augment.crop``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _kept(folder: Path, logger: str) -> str | None:
    """A logger's id of the run, or None."""
    file = folder / IDS
    return json.loads(file.read_text(encoding="utf-8")).get(logger) if file.is_file() else None


def _keep(folder: Path, logger: str, id_: str) -> None:
    file = folder / IDS
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    atomic_write(file, json.dumps(known | {logger: id_}))
