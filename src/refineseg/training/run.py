"""A training run: its parts, its position, its state in a checkpoint, and resuming."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from refineseg.config import TrainConfig
from refineseg.config.yaml import to_yaml
from refineseg.data.batches.loader import TrainingPictures, steps_per_epoch
from refineseg.data.dataset import SegmentationData
from refineseg.errors import ConfigError, WeightsError
from refineseg.evaluation.evaluate import Evaluation
from refineseg.model.folders.card import ModelCard
from refineseg.model.refinenet import RefineNet
from refineseg.system.files import atomic_write
from refineseg.system.text import counted, duration
from refineseg.training.checkpoint import load_checkpoint
from refineseg.training.custom import Callback, Custom, TrainingEvent, custom_names
from refineseg.training.distillation import Teacher
from refineseg.training.optimizer import MovingAverage
from refineseg.training.parallel import load_whole_network, load_whole_optimizer, whole_state
from refineseg.training.tracking.metrics_log import MetricsLog

CHECKPOINTS, BEST, LAST = "checkpoints", "best", "last"
SETTINGS, CURVES, PAGE = "config.yaml", "curves.png", "index.html"
# Settings that may change when a run is resumed: they do not change the result, describe it, or are its length.
WITHOUT_INFLUENCE = ("workers", "cache_mb", "backbone_weights", "strategy", "compile", "loggers")
DESCRIPTION = ("data", "drop_bad", "description", "licence")
LENGTH = ("epochs", "steps", "minutes", "patience")
FEWEST = 50  # steps between validations within an epoch


@dataclass
class Position:
    """Progress of a run: all that resuming needs besides weights and optimiser."""

    step: int = 0  # optimiser steps done
    # since the last row of the log
    loss_sum: float = 0.0
    loss_steps: int = 0
    best: float = -1.0  # best value of the metric so far
    seconds: float = 0.0  # time so far, including validation
    validated_seconds: float = 0.0  # ``seconds`` at the end of the last validation
    validation_seconds: float = 0.0  # duration of the last validation
    stale: int = 0  # validations since the best one
    ended: bool = False  # whether ``patience`` has ended the run


@dataclass
class Run:
    """A training run.

    ``trained_on`` are the splits that the network has seen, including those of the initial model; ``started``
    describes the initial weights on the model card.
    """

    config: TrainConfig
    data: SegmentationData
    folder: Path
    fabric: Fabric
    model: RefineNet
    pictures: TrainingPictures
    report: Callback
    custom: Custom = field(default_factory=Custom)
    trained_on: tuple[str, ...] = ("train",)
    origin: dict[str, str] = field(default_factory=dict)
    started: dict[str, str] = field(default_factory=dict)
    teacher: Teacher | None = None
    average: MovingAverage | None = None
    position: Position = field(default_factory=Position)
    log: MetricsLog = field(default_factory=MetricsLog)
    stopped: bool = False  # by a callback, for all processes
    # sent to the other processes at the next exchange (``loop.fetch_losses``), so that all end at the same step
    asked_to_stop: bool = False
    own_seconds: float = 0.0

    @property
    def per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return steps_per_epoch(len(self.pictures), self.config.labelled_in_batch)

    @property
    def steps(self) -> int:
        """Total number of optimiser steps; an estimate if time ends the run."""
        if self.config.minutes is None:
            return self.config.steps or self.config.epochs * self.per_epoch
        done = self.position.seconds / (60 * self.config.minutes)
        return max(self.position.step + 1, round(self.position.step / done) if done else 0)

    @property
    def schedule_progress(self) -> tuple[int, int]:
        """Progress of the schedule: steps done and total, or milliseconds if time ends the run."""
        if self.config.minutes is None:
            return self.position.step, self.steps
        every = round(60_000 * self.config.minutes)
        return min(every, round(1000 * self.position.seconds)), every

    @property
    def is_last(self) -> bool:
        """Whether the current step is the last one."""
        if self.stopped or self.position.ended:
            return True
        if self.config.minutes is None:
            return self.position.step >= self.steps
        return self.position.seconds + self.position.validation_seconds >= 60 * self.config.minutes

    @property
    def validation_is_due(self) -> bool:
        """Whether to validate after this step: every ``validate_every`` epochs, at least ten times.

        If time ends the run, as often as validation takes at most a tenth of it.
        """
        position, config = self.position, self.config
        if config.minutes is None:
            return position.step % self.validation_interval == 0
        since = position.seconds - position.validated_seconds
        is_time = since >= 6 * config.minutes or position.step % (config.validate_every * self.per_epoch) == 0
        return is_time and since >= 9 * position.validation_seconds

    @property
    def validation_interval(self) -> int:
        """Steps between validations if steps end the run: whole epochs if a tenth of it is longer than one."""
        every, tenth = self.config.validate_every * self.per_epoch, -(-self.steps // 10)
        if tenth >= self.per_epoch:
            return min(every, tenth // self.per_epoch * self.per_epoch)
        return min(every, self.per_epoch, max(tenth, FEWEST))

    @property
    def progress_is_due(self) -> bool:
        """Whether this step ends an epoch, or validation is due."""
        return self.position.step % self.per_epoch == 0 or self.validation_is_due

    @property
    def time_left(self) -> str:
        """Expected time to the end, including validations, as text."""
        seconds = self.position.seconds
        if self.config.minutes is not None:
            return duration(max(0.0, 60 * self.config.minutes - seconds))
        return duration(seconds / max(1, self.position.step) * (self.steps - self.position.step))

    def advance(self, seconds: float) -> None:
        """Count one step."""
        self.position.step += 1
        self.spend(seconds)

    def spend(self, seconds: float) -> None:
        """Count time. With several processes it counts from the next exchange on."""
        if self.fabric.world_size == 1:
            self.position.seconds += seconds
        else:
            self.own_seconds += seconds

    def request_stop(self) -> None:
        """Make this step the last; with several processes, that of the next exchange."""
        self.asked_to_stop = True
        self.stopped |= self.fabric.world_size == 1

    @property
    def trained(self) -> RefineNet:
        """The network to validate and save: the moving average, if any."""
        return self.average.model if self.average else self.model


def describe_run(run: Run, evaluation: Evaluation) -> ModelCard:
    """The model card of a run."""
    config, taught = run.config, run.teacher is not None
    provenance: dict[str, Any] = {
        "trained": datetime.now(UTC).strftime("%Y-%m-%d"),
        **run.origin,
        "data": run.data.name,
        "description": config.description or None,
        "pictures": f"{len(run.pictures)} train, {len(run.data.split('val'))} val",
        "trained on": ", ".join(run.trained_on),
        **{f"{key}, in Python": name for key, name in custom_names(run.custom).items()},
        "teacher": config.teacher or None,
        "teacher weight": config.teacher_weight if taught else None,
        "teacher temperature": config.teacher_temperature if taught else None,
        "unlabelled pictures": f"{run.pictures.unlabelled_count} of {Path(config.unlabelled).name}"
        if config.unlabelled
        else None,
        "steps": run.position.step,
        "seconds": round(run.position.seconds),
        "torch": torch.__version__,
        **run.started,
    }
    return ModelCard(
        run.folder.name,
        run.data.label_map,
        () if "val" in run.trained_on else (evaluation.for_card(),),
        {name: value for name, value in provenance.items() if value is not None},
        config.licence or run.data.licence,
        channels=run.data.channels,
    )


def checkpoint_state(run: Run, optimizer: Any) -> dict[str, Any]:
    """The state for resuming: plain values and unsharded tensors, for any number of processes."""
    return {
        "config": run.config.to_dict(),
        "custom": custom_names(run.custom),
        "data": data_of(run),
        "model": whole_state(run.model.state_dict()),
        "average": whole_state(run.average.model.state_dict()) if run.average else None,
        "optimizer": whole_state(optimizer.state_dict()),
        "position": vars(run.position).copy(),
        "log": run.log.rows,
    }


def data_of(run: Run) -> dict[str, Any]:
    """Classes and training pictures, in order, which must not change when a run is resumed."""
    samples = run.data.split("train")
    names = "\n".join(sample.image.name for sample in samples)
    classes = [[item.name, str(item.raw)] for item in run.data.label_map.classes]
    return {"classes": classes, "pictures": len(samples), "names": zlib.crc32(os.fsencode(names))}


def restore(run: Run, optimizer: Any) -> None:
    """Resume from the newest intact checkpoint. ConfigError for other settings."""
    state, refused = load_checkpoint(run.folder / CHECKPOINTS)
    for line in refused:
        run.report(TrainingEvent("note", note=line))
    try:
        restore_state(run, optimizer, state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = f"{type(error).__name__} {' '.join(str(error).split()):.200}"
        raise WeightsError(f"the checkpoint in {run.folder} does not fit the run: {reason}") from error


def restore_state(run: Run, optimizer: Any, state: dict[str, Any]) -> None:
    """Restore network, average, optimiser, position and log from a state."""
    # Settings newer than the checkpoint had their defaults.
    before, now = TrainConfig.from_dict(state["config"]).to_dict(), run.config.to_dict()
    free = (*WITHOUT_INFLUENCE, *DESCRIPTION, *LENGTH)
    changed = [key for key in now if key not in free and before[key] != now[key]]
    if changed:
        raise ConfigError(f"expected the run's own settings with --resume, got other {', '.join(changed)}")
    if state.get("custom", {}) != custom_names(run.custom):
        raise ConfigError(
            f"the run was started with {state.get('custom') or 'settings only'}, given in Python: pass the same "
            "to refineseg.train with resume=True"
        )
    check_same_data(state.get("data"), data_of(run))
    load_whole_network(run.model, state["model"])
    if run.average:
        load_whole_network(run.average.model, state["average"])
    load_whole_optimizer(optimizer, state["optimizer"])
    run.position = Position(**state["position"])
    run.log = MetricsLog([dict(row) for row in state["log"]])
    if any(before[key] != now[key] for key in LENGTH):
        change_length(run)
    elif run.is_last:
        extends = "a larger --epochs, --steps or --minutes extends it"
        run.report(
            TrainingEvent(
                "note", note=f"the run is complete, after {counted(run.position.step, 'step')}: {extends}"
            )
        )
    else:
        run.report(TrainingEvent("note", note=f"the run continues from step {run.position.step}"))


def check_same_data(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """ConfigError if the data set has changed since the checkpoint (unknown for older checkpoints)."""
    if before is None or before == now:
        return
    if before["classes"] != now["classes"]:
        changed = [one[0] for one in now["classes"] if one not in before["classes"]] or "fewer or another order"
        raise ConfigError(f"expected the run's own classes with --resume, the label map has changed: {changed}")
    raise ConfigError(
        f"expected the run's own {counted(before['pictures'], 'training picture')} with --resume, got "
        f"{now['pictures']}, others or in another order: restore the lists, or start a new run from "
        "RUN/last with --model"
    )


def change_length(run: Run) -> None:
    """Continue to a new end; from here on the learning rate follows the new schedule."""
    step, run.position.ended, run.position.stale = run.position.step, False, 0
    if run.is_last:
        raise ConfigError(
            f"the run has already done {counted(step, 'step')}: give more --epochs, --steps or --minutes"
        )
    end = f"{run.config.minutes:g} min" if run.config.minutes else counted(run.steps, "step")
    atomic_write(run.folder / SETTINGS, to_yaml(run.config.to_dict()))
    run.report(TrainingEvent("note", note=f"the run continues from step {step} with the schedule of {end}"))
