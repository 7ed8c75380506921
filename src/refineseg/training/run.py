"""A training run as data: what it is, where it is, what a checkpoint keeps of it, and taking it up again."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from refineseg.config import TrainConfig
from refineseg.data.loader import TrainingPictures, steps_per_epoch
from refineseg.data.source import SegmentationData
from refineseg.errors import ConfigError, WeightsError
from refineseg.evaluation.evaluate import Evaluation
from refineseg.model.card import ModelCard
from refineseg.model.refinenet import RefineNet
from refineseg.training.checkpoint import load_checkpoint
from refineseg.training.custom import Callback, Custom, Report, names_of
from refineseg.training.distillation import Teacher
from refineseg.training.log import MetricsLog
from refineseg.training.optimizer import MovingAverage
from refineseg.training.parallel import load_whole_network, load_whole_optimizer, whole_state

CHECKPOINTS, BEST, LAST = "checkpoints", "best", "last"
SETTINGS, CURVES = "config.yaml", "curves.png"


@dataclass
class Position:
    """Where a run is: everything beside weights and optimiser that a resumed run needs.

    Attributes:
        step: optimiser steps done.
        loss_sum, loss_steps: since the last line of the log.
        best: highest value of the chosen metric so far.
        seconds: of training so far, validation included.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_steps: int = 0
    best: float = -1.0
    seconds: float = 0.0


@dataclass
class Run:
    """A training run: what is trained, on what, and where it is.

    ``learnt`` are the splits that the network has seen in the end, with those of the model that it starts from;
    ``started`` says on the model card what that is.
    """

    config: TrainConfig
    data: SegmentationData
    folder: Path
    fabric: Fabric
    model: RefineNet
    pictures: TrainingPictures
    report: Callback
    custom: Custom = field(default_factory=Custom)
    learnt: tuple[str, ...] = ("train",)
    origin: dict[str, str] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    teacher: Teacher | None = None
    average: MovingAverage | None = None
    position: Position = field(default_factory=Position)
    log: MetricsLog = field(default_factory=MetricsLog)
    stopped: bool = False

    @property
    def per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return steps_per_epoch(len(self.pictures), self.config.labelled_in_batch)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.config.steps or self.config.epochs * self.per_epoch

    @property
    def is_last(self) -> bool:
        """Whether the newest step is the last one."""
        return self.stopped or self.position.step >= self.steps

    @property
    def trained(self) -> RefineNet:
        """The network that is validated and saved: the moving average where there is one."""
        return self.average.model if self.average else self.model


def describe_run(run: Run, evaluation: Evaluation) -> ModelCard:
    """What the model folder says of its making."""
    provenance = {
        "trained": datetime.now(UTC).strftime("%Y-%m-%d"),
        **run.origin,
        "data": run.data.name,
        "trained on": ", ".join(run.learnt),
        **{f"{key}, in Python": name for key, name in names_of(run.custom).items()},
        **taught_by(run),
        "steps": run.position.step,
        "seconds": round(run.position.seconds),
        "torch": torch.__version__,
        **run.started,
    }
    return ModelCard(
        run.folder.name,
        run.data.label_map,
        () if "val" in run.learnt else (evaluation.for_card(),),
        provenance,
        run.data.licence,
        channels=run.data.channels,
    )


def taught_by(run: Run) -> dict[str, Any]:
    """What the model folder says of the teacher and of the pictures that it alone labelled."""
    config = run.config
    if run.teacher is None:
        return {}
    taught: dict[str, Any] = {
        **({"teacher": config.teacher} if config.teacher else {}),
        "teacher weight": config.teacher_weight,
        "teacher temperature": config.teacher_temperature,
    }
    if config.unlabelled:
        taught["unlabelled pictures"] = f"{run.pictures.unlabelled_count} of {Path(config.unlabelled).name}"
    return taught


def state_of(run: Run, optimizer: Any) -> dict[str, Any]:
    """Everything a resumed run needs, as plain values and whole tensors, however many processes there are."""
    return {
        "config": run.config.to_dict(),
        "custom": names_of(run.custom),
        "model": whole_state(run.model.state_dict()),
        "average": whole_state(run.average.model.state_dict()) if run.average else None,
        "optimizer": whole_state(optimizer.state_dict()),
        "position": vars(run.position).copy(),
        "log": run.log.rows,
    }


def restore(run: Run, optimizer: Any) -> None:
    """Take up the newest whole checkpoint. ConfigError if the run was started with other settings."""
    state, refused = load_checkpoint(run.folder / CHECKPOINTS)
    for line in refused:
        run.report(Report("note", note=line))
    try:
        take_up(run, optimizer, state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__} {' '.join(str(error).split()):.200}"
        raise WeightsError(f"the checkpoint in {run.folder} does not fit the run: {reason}") from error


def take_up(run: Run, optimizer: Any, state: dict[str, Any]) -> None:
    """Fill network, average, optimiser, position and log of a run from a checkpoint's state."""
    # A setting that is newer than the checkpoint had its default.
    before, now = TrainConfig.from_dict(state["config"]).to_dict(), run.config.to_dict()
    free = {"workers", "cache_mb", "backbone_weights", "strategy"}  # change nothing in the result
    changed = [key for key in now if key not in free and before[key] != now[key]]
    if changed:
        raise ConfigError(f"expected the run's own settings with --resume, got other {', '.join(changed)}")
    if state.get("custom", {}) != names_of(run.custom):
        raise ConfigError(
            f"the run was started with {state.get('custom') or 'settings only'}, given in Python: pass the same "
            "to refineseg.train with resume=True"
        )
    load_whole_network(run.model, state["model"])
    if run.average:
        load_whole_network(run.average.model, state["average"])
    load_whole_optimizer(optimizer, state["optimizer"])
    run.position = Position(**state["position"])
    run.log = MetricsLog([dict(row) for row in state["log"]])
