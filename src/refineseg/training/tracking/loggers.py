"""A run's metrics in Weights & Biases or MLflow: the callbacks behind the setting ``loggers``.

Fabric has loggers for CSV and TensorBoard only, and those of Lightning come with pytorch-lightning, a whole
trainer; so the few calls that a run needs are made here.
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

PROJECT = "refineseg"  # where WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME does not say another
IDS = "loggers.json"  # in the run's folder: ids by logger, so that a resumed run goes on in the same place


class WandbLogger:
    """Rows of metrics.csv in Weights & Biases; its environment variables (``WANDB_MODE``, ...) count."""

    def __init__(self) -> None:
        with extra("wandb", "wandb", "loggers=[wandb]"):
            import wandb
        self.package: Any = wandb
        self.run: Any = None

    def __call__(self, event: TrainingEvent) -> None:
        """Begin with the first step, log a row, or end."""
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
    """Rows of metrics.csv in MLflow, where it keeps them: ``mlflow.db`` in the current folder unless
    ``MLFLOW_TRACKING_URI`` says another place; its other environment variables count too."""

    def __init__(self) -> None:
        with extra("mlflow", "mlflow", "loggers=[mlflow]"):
            import mlflow
        self.package: Any = mlflow
        self.run: Any = None

    def __call__(self, event: TrainingEvent) -> None:
        """Begin with the first step, log a row, or end."""
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
    """ConfigError in one line for whatever a logger's package raises when it starts: no account, no server ..."""
    try:
        yield
    except Exception as error:  # each package has its own
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{name} did not start: {reason}; fix that, or remove it from loggers") from error


def make_loggers(names: tuple[str, ...]) -> list[Callback]:
    """The loggers of a run; MissingExtraError where the package of one is not installed."""
    return [LOGGERS[name]() for name in names]


def _numbers(event: TrainingEvent) -> dict[str, float]:
    row = event.row or {}
    return {name: float(value) for name, value in row.items() if value is not None and math.isfinite(value)}


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Settings of settings as ``augment.crop``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return flat


def _kept(folder: Path, logger: str) -> str | None:
    """The id under which a logger knows the run, or None."""
    file = folder / IDS
    return json.loads(file.read_text(encoding="utf-8")).get(logger) if file.is_file() else None


def _keep(folder: Path, logger: str, id_: str) -> None:
    file = folder / IDS
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    atomic_write(file, json.dumps(known | {logger: id_}))
