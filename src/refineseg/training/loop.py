"""The training loop, to be read from top to bottom. Fabric brings devices, precision and processes."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from refineseg import processes
from refineseg.config import TrainConfig, to_yaml
from refineseg.data.loader import (
    Batches,
    TrainingPictures,
    class_balanced_weights,
    steps_per_epoch,
    training_loader,
)
from refineseg.data.source import SegmentationData
from refineseg.errors import ConfigError, InputError, WeightsError
from refineseg.evaluation.evaluate import Evaluation, evaluate
from refineseg.evaluation.protocol import Protocol
from refineseg.files import atomic_write, leftovers, writable_folder
from refineseg.inference.predictor import Segmenter
from refineseg.memory import keep_freed_memory
from refineseg.model.backbone import load_backbone_weights
from refineseg.model.bundled import find_model
from refineseg.model.hub import pinned
from refineseg.model.presets import PRESETS, create_model
from refineseg.model.refinenet import RefineNet
from refineseg.model.weights import ModelInfo, load_model_folder, read_config, save_model_folder
from refineseg.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from refineseg.training.log import METRICS, MetricsLog
from refineseg.training.parallel import (
    arrange,
    load_whole_network,
    load_whole_optimizer,
    make_fabric,
    set_up,
    whole_network,
    whole_state,
)
from refineseg.training.plan import check_memory
from refineseg.training.recipe import MovingAverage, freeze_batch_norm, make_loss, rate

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


@dataclass(frozen=True)
class Report:
    """What the loop tells whoever watches (progress bar, test): one record per step, or a note in words.

    ``waiting`` is the share of the step's time that it waited for its pictures.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    images_per_second: float
    phase: str = "train"
    note: str = ""
    waiting: float = 0.0


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
        command: written into the model's provenance.
        commit: likewise.

    Returns:
        The evaluation of the last weights on ``val``.

    Raises:
        InputError: RUN holds files already, pictures or masks that cannot be used (before the first step).
        ConfigError: settings that do not fit each other, or a step that does not fit in memory.
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
    half_written = left_by_a_kill(folder)
    if not resume and folder.is_dir() and set(folder.iterdir()) - set(half_written):
        raise InputError(
            f"expected a new or empty folder for the run, {folder} holds files; use --resume or another -o"
        )
    data.split("val")
    keep_freed_memory()
    fabric = make_fabric(config, device)
    torch.manual_seed(config.seed)
    config = replace(config, model=pinned(config.model))
    share = config.batch_size // fabric.world_size
    if share < 2 and max(config.augment.crop) <= 32 and not config.freeze_batch_norm:
        raise ConfigError(
            f"expected more than one pixel at stride 32 for batch norm, got {share} picture a process of crop "
            f"{config.augment.crop}: raise the crop or the batch size, or set freeze_batch_norm"
        )
    data = with_bands_of_model(config, data)
    model = initial_model(config, data)
    check_memory(model, config, fabric.device, fabric.world_size)
    if watch is None or not fabric.is_global_zero:
        watch = _nobody
    pictures = TrainingPictures(data, "train", config.augment, config.seed)
    pictures.prepare(config.cache_mb, lambda done, of: watch(Report(done, of, 0, 0.0, 0.0, 0.0, phase="reading")))
    writable_folder(folder)
    if fabric.is_global_zero:
        for path in half_written:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not (folder / SETTINGS).exists():
            atomic_write(folder / SETTINGS, to_yaml(config.to_dict()))
    return Run(config, data, folder, fabric, model, pictures, watch)


def left_by_a_kill(folder: Path) -> list[Path]:
    """Files and folders of a run that a kill left half-written."""
    names = (
        *(SETTINGS, METRICS, CURVES, BEST, LAST, "tensorboard/events.*.refineseg"),
        *(f"{CHECKPOINTS}/step-*.pt", f"{CHECKPOINTS}/step-*.sha256"),
    )
    return [path for name in names for path in leftovers(folder / name)]


def _nobody(_report: Report) -> None:
    pass


def initial_model(config: TrainConfig, data: SegmentationData) -> RefineNet:
    """The network to train: a preset with random or ImageNet weights, or the weights of a model folder."""
    if config.model in PRESETS:
        bands = data.bands
        fields: dict[str, Any] = dict(config.fields)
        if bands is not None:
            fields = {"in_channels": bands.channels, "mean": bands.mean, "std": bands.std} | fields
        channels = 3 if bands is None else bands.channels
        if fields.get("in_channels", 3) != channels:
            raise ConfigError(f"expected in_channels of {channels}, as in the data, got {config.fields}")
        return create_model(config.model, data.label_map.num_classes, config.backbone_weights, **fields)
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


def with_bands_of_model(config: TrainConfig, data: SegmentationData) -> SegmentationData:
    """The data as the model folder that training starts from sees it: raw values keep their meaning."""
    if config.model in PRESETS:
        return data
    bands = read_config(find_model(config.model))[1].bands
    kinds = [None if item is None else (item.channels, item.dtype) for item in (bands, data.bands)]
    if kinds[0] != kinds[1]:
        model, here = ("RGB" if kind is None else f"{kind[0]} channels of {kind[1]}" for kind in kinds)
        raise ConfigError(f"{config.model} was trained on {model}, the data has {here}: start from a preset")
    return replace(data, bands=bands)


def fit(run: Run) -> Evaluation:
    """The loop: step, average, log, validate, checkpoint."""
    config, fabric = run.config, run.fabric
    model = arrange(run.model, config)
    if config.freeze_batch_norm:
        freeze_batch_norm(model)
    model = model.to(fabric.device)
    run.model = model
    run.average = MovingAverage(model, config.ema) if config.ema else None
    wrapped, optimizer = set_up(fabric, model, run.average, config)
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
        waited = time.perf_counter() - clock
        step = run.position.step
        share = rate(step, run.steps, config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * share
        seed_step(config.seed, step, fabric.global_rank)
        loss = loss_of(wrapped(to_input(images, fabric.device), upsample=False), labels.to(fabric.device))
        value = processes.mean(loss).item()
        if not math.isfinite(value):
            raise InputError(f"the loss is {value} at step {step}: lower --lr, or set precision to 32")
        fabric.backward(loss)
        if config.clip_norm:
            fabric.clip_gradients(wrapped, optimizer, max_norm=config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if run.average:
            run.average.update(model, step)
        now = time.perf_counter()
        advance(run, value, now - clock)
        speed, waiting = config.batch_size / (now - clock), waited / (now - clock)
        epoch = step // run.per_epoch
        run.watch(Report(step + 1, run.steps, epoch, value, config.lr * share, speed, waiting=waiting))
        clock = now
        if run.position.step % run.per_epoch == 0 or run.position.step == run.steps:
            evaluation = end_of_epoch(run, optimizer, config.lr * share)
            model.train()
            clock = time.perf_counter()
    return evaluation if evaluation is not None else validate(run, whole_network(run.trained))


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """Bx3xHxW uint8 to float32 in [0, 1], channels last; floats, of bands, are in their range already."""
    images = images.to(device, non_blocking=True)
    unit = images if images.is_floating_point() else images.float().div_(255)
    return unit.contiguous(memory_format=torch.channels_last)


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
    """Validate if it is time; then the first process writes model folders, log and, last of all, the checkpoint.

    Whatever a checkpoint says is done therefore stands on the disk, and a kill before it repeats the epoch.
    """
    position, config, start = run.position, run.config, time.perf_counter()
    epoch, last = -(-position.step // run.per_epoch), position.step >= run.steps
    row: dict[str, float | int | None] = {
        "epoch": epoch,
        "step": position.step,
        "lr": lr,
        "loss": position.loss_sum / max(1, position.loss_steps),
    }
    position.loss_sum, position.loss_steps = 0.0, 0
    evaluation = None
    if last or epoch % config.validate_every == 0:
        network = whole_network(run.trained)
        evaluation = validate(run, network)
        row |= {name: getattr(evaluation.scores, name) for name in SCORES}
        value = float(row[config.metric] or 0.0)
        folders = [BEST, LAST] if value > position.best else [LAST]
        position.best = max(value, position.best)
        for name in folders if run.fabric.is_global_zero else []:
            save_model_folder(run.folder / name, network, describe_run(run, evaluation))
    position.seconds += time.perf_counter() - start
    run.log.add(row | {"seconds": round(position.seconds, 1)})
    state = state_of(run, optimizer)
    if run.fabric.is_global_zero:
        run.log.write(run.folder)
        if last:
            run.log.plot(run.folder / CURVES)
        save_checkpoint(run.folder / CHECKPOINTS, position.step, state)
    run.fabric.barrier()
    return evaluation


SCORES = ("mean_iou", "pixel_accuracy", "mean_class_accuracy")


def validate(run: Run, network: RefineNet) -> Evaluation:
    """Score a network on ``val`` with the predictor, in float32, large pictures in windows.

    Each process takes a share of the pictures.
    """
    info = ModelInfo("validation", run.data.label_map, bands=run.data.bands)
    segmenter = Segmenter(network, info, str(run.fabric.device))
    step, of = run.position.step, run.steps
    return evaluate(
        segmenter,
        run.data,
        "val",
        protocol=Protocol(tile="auto"),
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
        **({} if run.config.model in PRESETS else {"started from": run.config.model}),
        "backbone weights": Path(run.config.backbone_weights).name if run.config.backbone_weights else "random",
    }
    return ModelInfo(
        run.folder.name,
        run.data.label_map,
        (evaluation.for_card(),),
        provenance,
        run.data.licence,
        bands=run.data.bands,
    )


def state_of(run: Run, optimizer: Any) -> dict[str, Any]:
    """Everything a resumed run needs, as plain values and whole tensors, however many processes there are."""
    return {
        "config": run.config.to_dict(),
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
        run.watch(Report(0, run.steps, 0, 0.0, 0.0, 0.0, phase="note", note=line))
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
    load_whole_network(run.model, state["model"])
    if run.average:
        load_whole_network(run.average.model, state["average"])
    load_whole_optimizer(optimizer, state["optimizer"])
    run.position = Position(**state["position"])
    run.log = MetricsLog([dict(row) for row in state["log"]])
