"""Callbacks that log to Weights & Biases or MLflow, for the setting ``loggers``.

Called directly, since Fabric has no such loggers and Lightning's need pytorch-lightning.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from refineseg.config.settings import flat
from refineseg.errors import ConfigError, extra
from refineseg.system.files import atomic_write
from refineseg.system.text import reason_of
from refineseg.training.custom import TrainingEvent

if TYPE_CHECKING:
    from refineseg.training.run import Run

PROJECT = "refineseg"  # unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME is set
IDS = "loggers.json"  # in the run's folder: run ids by logger, for resuming


class Tracker(NamedTuple):
    """A started run of a logger's package."""

    id: str
    log: Callable[..., object]
    finish: Callable[[], object]


def start_wandb(wandb: Any, run: Run, known: str | None) -> Tracker:
    """Start or resume a Weights & Biases run."""
    started = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=run.folder.name,
        dir=run.folder,
        config=run.config.to_dict(),
        id=known,
        resume="allow",
    )
    return Tracker(started.id, started.log, started.finish)


def start_mlflow(mlflow: Any, run: Run, known: str | None) -> Tracker:
    """Start or resume an MLflow run."""
    if known is None and "MLFLOW_EXPERIMENT_NAME" not in os.environ:
        mlflow.set_experiment(PROJECT)
    started = mlflow.start_run(run_id=known, run_name=None if known else run.folder.name)
    if known is None:
        mlflow.log_params(flat(run.config.to_dict()))
    return Tracker(started.info.run_id, mlflow.log_metrics, mlflow.end_run)


STARTS: dict[str, Callable[[Any, Run, str | None], Tracker]] = {"wandb": start_wandb, "mlflow": start_mlflow}


class RunLogger:
    """A callback that logs rows of metrics.csv with a package, configured by its environment variables.

    MissingExtraError if the package is not installed.
    """

    def __init__(self, name: str) -> None:
        with extra(name, name, f"loggers=[{name}]"):
            self.package = import_module(name)
        self.name = name
        self.tracker: Tracker | None = None

    def __call__(self, event: TrainingEvent) -> None:
        """Start at the first step, log rows, and finish."""
        if self.tracker is None and event.run is not None and event.phase != "stopped":
            self.tracker = self._start(event.run)
        if self.tracker is not None and event.row is not None:
            known = {name: float(value) for name, value in event.row.items() if value is not None}
            self.tracker.log(
                {name: value for name, value in known.items() if math.isfinite(value)}, step=event.step
            )
        if self.tracker is not None and event.phase == "end":
            self.tracker.finish()

    def _start(self, run: Run) -> Tracker:
        """ConfigError for any error of the package, such as no account or server."""
        file = run.folder / IDS
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        try:
            tracker = STARTS[self.name](self.package, run, known.get(self.name))
        except Exception as error:  # each package has its own
            reason = reason_of(error, 300)
            raise ConfigError(
                f"{self.name} did not start: {reason}; fix that, or remove it from loggers"
            ) from error
        atomic_write(file, json.dumps(known | {self.name: tracker.id}))
        return tracker
