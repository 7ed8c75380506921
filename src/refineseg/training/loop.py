"""The training loop, to be read from top to bottom. Fabric brings devices, precision and processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from refineseg.config import TrainConfig, to_yaml
from refineseg.data.loader import (
    Batches,
    TrainingPictures,
    class_balanced_weights,
    steps_per_epoch,
    training_loader,
)
from refineseg.data.source import SegmentationData
from refineseg.errors import ConfigError, InputError
from refineseg.evaluation.evaluate import Evaluation, evaluate
from refineseg.files import atomic_write, writable_folder
from refineseg.inference.predictor import Segmenter, pick_device
from refineseg.memory import keep_freed_memory
from refineseg.model.backbone import load_backbone_weights
from refineseg.model.bundled import find_model
from refineseg.model.presets import PRESETS, create_model
from refineseg.model.refinenet import RefineNet
from refineseg.model.weights import ModelInfo, load_model_folder, save_model_folder
from refineseg.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from refineseg.training.log import MetricsLog
from refineseg.training.recipe import MovingAverage, freeze_batch_norm, make_loss, make_optimizer, rate

CHECKPOINTS, BEST, LAST = "checkpoints", "best", "last"


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


@dataclass(frozen=True)
class Report:
    """What the loop tells whoever watches (progress bar, test): one record per step, or a note in words."""

    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    images_per_second: float
    phase: str = "train"
    note: str = ""


Watcher = Callable[[Report], None]


@dataclass
class Run:
    """A training run: what is trained, on what, and where it is."""

    config: TrainConfig
    data: SegmentationData
    folder: Path
    fabric: Fabric
    model: RefineNet
    pictures: TrainingPictures
    watch: Watcher
    origin: dict[str, str] = field(default_factory=dict)
    average: MovingAverage | None = None
    position: Position = field(default_factory=Position)
    log: MetricsLog = field(default_factory=MetricsLog)

    @property
    def per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return steps_per_epoch(len(self.pictures), self.config.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.config.steps or self.config.epochs * self.per_epoch

    @property
    def trained(self) -> RefineNet:
        """The network that is validated and saved: the moving average where there is one."""
        return self.average.model if self.average else self.model


def train(
    config: TrainConfig,
    data: SegmentationData,
    folder: str | Path,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
    device: str = "auto",
    command: str = "",
    commit: str = "",
) -> Evaluation:
    """Train a network and write RUN/config.yaml, metrics.csv, curves.png, best/, last/ and checkpoints/.

    Args:
        config: the recipe.
        data: with splits ``train`` and ``val``.
        folder: RUN; must be new or empty unless ``resume``.
        resume: go on from the newest whole checkpoint in RUN; ends as the uninterrupted run would have.
        watch: called after every step and validation picture.
        device: ``auto``, ``cpu`` or ``cuda``.
        command, commit: written into the model's provenance.

    Returns:
        The evaluation of the last weights on ``val``.

    Raises:
        InputError: RUN holds files already, pictures or masks that cannot be used (before the first step).
        ConfigError: settings that do not fit each other.
    """
    run = prepare(config, data, folder, resume=resume, watch=watch, device=device)
    run.origin = {"command": command or "refineseg.train", "commit": commit}
    return fit(run)


def prepare(
    config: TrainConfig,
    data: SegmentationData,
    folder: str | Path,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
    device: str = "auto",
) -> Run:
    """All that can fail for a reason the user can mend happens here, before the first step."""
    folder = Path(folder)
    if not resume and folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"expected a new or empty folder for the run, {folder} holds files; use --resume or another -o"
        )
    data.split("val")
    keep_freed_memory()
    chosen = pick_device(device)
    fabric = Fabric(
        accelerator=chosen.type,
        # Under torchrun it says how many; else one, the named one if a number was given.
        devices="auto" if "WORLD_SIZE" in os.environ else 1 if chosen.index is None else [chosen.index],
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
    )
    fabric.launch()
    if config.batch_size % fabric.world_size:
        raise ConfigError(
            f"expected a batch size that {fabric.world_size} processes can share, got {config.batch_size}"
        )
    torch.manual_seed(config.seed)
    model = initial_model(config, data)
    watch = watch or (lambda _report: None)
    pictures = TrainingPictures(data, "train", config.augment, config.seed)
    pictures.prepare(config.cache_mb, lambda done, of: watch(Report(done, of, 0, 0.0, 0.0, 0.0, phase="reading")))
    writable_folder(folder)
    run = Run(config, data, folder, fabric, model, pictures, watch)
    if fabric.is_global_zero and not resume:
        atomic_write(folder / "config.yaml", to_yaml(config.to_dict()))
    return run


def initial_model(config: TrainConfig, data: SegmentationData) -> RefineNet:
    """The network to train: a preset with random or ImageNet weights, or the weights of a model folder."""
    if config.model in PRESETS:
        return create_model(config.model, data.label_map.num_classes, config.backbone_weights, **config.fields)
    model, info = load_model_folder(find_model(config.model))
    if config.fields:
        raise ConfigError("expected 'fields' with a preset only: a model folder has its own")
    if info.labels.names != data.label_map.names:
        raise ConfigError(
            f"{config.model} was trained for {info.labels.names}, the data has {data.label_map.names}"
        )
    if config.backbone_weights:
        for backbone in model.each_backbone():
            load_backbone_weights(backbone, config.backbone_weights)
    return model


def fit(run: Run) -> Evaluation:
    """The loop: step, average, log, validate, checkpoint."""
    config, fabric = run.config, run.fabric
    model = run.model.to(memory_format=torch.channels_last)
    if config.freeze_batch_norm:
        freeze_batch_norm(model)
    model = model.to(fabric.device)
    run.model = model
    run.average = MovingAverage(model, config.ema) if config.ema else None
    wrapped, optimizer = fabric.setup(model, make_optimizer(model, config))
    if checkpoints(run.folder / CHECKPOINTS):  # none yet: the run was broken off early, and begins anew
        restore(run, optimizer)
    class_pixels = run.pictures.class_pixels
    loss_of = make_loss(config, class_pixels.sum(0))
    batches = Batches(
        len(run.pictures),
        config.batch_size,
        run.steps,
        run.position.step,
        config.seed,
        class_balanced_weights(class_pixels) if config.balanced_sampling else None,
        fabric.global_rank,
        fabric.world_size,
    )
    model.train()
    evaluation: Evaluation | None = None
    clock = time.perf_counter()
    for images, labels in training_loader(run.pictures, batches, config.workers):
        step = run.position.step
        share = rate(step, run.steps, config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * share
        seed_step(config.seed, step, fabric.global_rank)
        loss = loss_of(wrapped(to_input(images, fabric.device), upsample=False), labels.to(fabric.device))
        if not torch.isfinite(loss):
            raise InputError(f"the loss is {loss.item()} at step {step}: lower --lr, or set precision to 32")
        fabric.backward(loss)
        if config.clip_norm:
            fabric.clip_gradients(wrapped, optimizer, max_norm=config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if run.average:
            run.average.update(model, step)
        value, now = loss.item(), time.perf_counter()
        advance(run, value, now - clock)
        speed = config.batch_size / (now - clock)
        run.watch(Report(step + 1, run.steps, step // run.per_epoch, value, config.lr * share, speed))
        clock = now
        if run.position.step % run.per_epoch == 0 or run.position.step == run.steps:
            evaluation = end_of_epoch(run, optimizer, config.lr * share)
            model.train()
            clock = time.perf_counter()
    return evaluation if evaluation is not None else validate(run)


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """Bx3xHxW uint8 to float32 in [0, 1], channels last."""
    images = images.to(device, non_blocking=True)
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Dropout depends on (seed, step, process) alone, so that nothing random has to be restored."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + rank)


def advance(run: Run, loss: float, seconds: float) -> None:
    """Count one step."""
    position = run.position
    position.step += 1
    position.loss_sum += loss
    position.loss_steps += 1
    position.seconds += seconds


def end_of_epoch(run: Run, optimizer: Any, lr: float) -> Evaluation | None:
    """Log, validate if it is time, and write checkpoint and model folders; the first process only."""
    position, config = run.position, run.config
    epoch = -(-position.step // run.per_epoch)
    last = position.step >= run.steps
    evaluation = None
    if run.fabric.is_global_zero:
        start = time.perf_counter()
        row: dict[str, float | int | None] = {
            "epoch": epoch,
            "step": position.step,
            "lr": lr,
            "loss": position.loss_sum / max(1, position.loss_steps),
        }
        position.loss_sum, position.loss_steps = 0.0, 0
        if last or epoch % config.validate_every == 0:
            evaluation = validate(run)
            row |= {name: getattr(evaluation.scores, name) for name in METRICS}
            value = float(row[config.metric] or 0.0)
            if value > position.best:
                position.best = value
                save_model_folder(run.folder / BEST, run.trained, describe_run(run, evaluation))
            save_model_folder(run.folder / LAST, run.trained, describe_run(run, evaluation))
        position.seconds += time.perf_counter() - start
        run.log.add(row | {"seconds": round(position.seconds, 1)})
        save_checkpoint(run.folder / CHECKPOINTS, position.step, state_of(run, optimizer))
        run.log.write(run.folder)
        if last:
            run.log.plot(run.folder / "curves.png")
    run.fabric.barrier()
    return evaluation


METRICS = ("mean_iou", "pixel_accuracy", "mean_class_accuracy")


def validate(run: Run) -> Evaluation:
    """Score the averaged weights on ``val`` with the predictor, in float32."""
    info = ModelInfo("validation", run.data.label_map)
    segmenter = Segmenter(run.trained, info, str(run.fabric.device))
    step, of = run.position.step, run.steps
    return evaluate(
        segmenter,
        run.data,
        "val",
        progress=lambda done, all_: run.watch(
            Report(done, all_, step * 100 // of, 0.0, 0.0, 0.0, phase="validating")
        ),
    )


def describe_run(run: Run, evaluation: Evaluation) -> ModelInfo:
    """What the model folder says of its making."""
    provenance = {
        "trained": datetime.now(UTC).strftime("%Y-%m-%d"),
        **run.origin,
        "steps": run.position.step,
        "seconds": round(run.position.seconds),
        "torch": torch.__version__,
        "backbone weights": Path(run.config.backbone_weights).name if run.config.backbone_weights else "random",
    }
    return ModelInfo(run.folder.name, run.data.label_map, (evaluation.for_card(),), provenance, run.data.licence)


def state_of(run: Run, optimizer: Any) -> dict[str, Any]:
    """Everything a resumed run needs, as plain values and tensors."""
    return {
        "config": run.config.to_dict(),
        "model": run.model.state_dict(),
        "average": run.average.model.state_dict() if run.average else None,
        "optimizer": optimizer.state_dict(),
        "position": vars(run.position).copy(),
        "log": run.log.rows,
    }


def restore(run: Run, optimizer: Any) -> None:
    """Take up the newest whole checkpoint. ConfigError if the run was started with other settings."""
    state, refused = load_checkpoint(run.folder / CHECKPOINTS)
    for line in refused:
        run.watch(Report(0, run.steps, 0, 0.0, 0.0, 0.0, phase="note", note=line))
    before, now = state["config"], run.config.to_dict()
    free = {"workers", "cache_mb", "backbone_weights"}  # change nothing in the result
    changed = [key for key in now if key not in free and before.get(key) != now[key]]
    if changed:
        raise ConfigError(f"expected the run's own settings with --resume, got other {', '.join(changed)}")
    run.model.load_state_dict(state["model"])
    if run.average:
        run.average.model.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    run.position = Position(**state["position"])
    run.log = MetricsLog(state["log"])
