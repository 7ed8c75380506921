"""The training loop, to be read from top to bottom. Fabric brings devices, precision and processes."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from refineseg.config import TrainConfig
from refineseg.data.loader import Batches, WithUnlabelled, class_balanced_weights, training_loader
from refineseg.data.source import SegmentationData
from refineseg.errors import InputError
from refineseg.evaluation.evaluate import Evaluation, evaluate
from refineseg.evaluation.protocol import Protocol
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE, UNLABELLED
from refineseg.model.card import ModelCard
from refineseg.model.model_folder import save_model_folder
from refineseg.model.refinenet import RefineNet
from refineseg.system import processes
from refineseg.training.checkpoint import checkpoints, save_checkpoint
from refineseg.training.custom import Custom, Report, StopTraining
from refineseg.training.distillation import ask, soft_loss
from refineseg.training.losses import make_loss
from refineseg.training.optimizer import MovingAverage, freeze_batch_norm, rate
from refineseg.training.parallel import arrange, set_up, whole_network
from refineseg.training.prepare import prepare
from refineseg.training.run import (
    BEST,
    CHECKPOINTS,
    CURVES,
    LAST,
    Run,
    describe_run,
    restore,
    state_of,
)

SCORES = ("mean_iou", "pixel_accuracy", "mean_class_accuracy")


def train(
    config: TrainConfig,
    data: SegmentationData,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    command: str = "",
    commit: str = "",
    **custom: Unpack[Custom],
) -> Evaluation:
    """Train a network and write RUN/config.yaml, metrics.csv, curves.png, best/, last/ and checkpoints/.

    Args:
        config: the recipe.
        data: with splits ``train`` and ``val``.
        folder: RUN; must be new or empty unless ``resume``.
        resume: go on from the newest whole checkpoint in RUN; ends as the uninterrupted run would have.
        device: ``auto``, ``cpu`` or ``cuda``.
        command: written into the model's provenance.
        commit: likewise.
        custom: ``teacher``, ``loss``, ``augment``, each a callable in place of a setting, and ``callbacks``; see
            ``refineseg.training.custom.Custom``.

    Returns:
        The evaluation of the last weights on ``val``.

    Raises:
        InputError: RUN holds files already, pictures or masks that cannot be used (before the first step).
        ConfigError: settings that do not fit each other, or a step that does not fit in memory.
    """
    run = prepare(config, data, folder, resume=resume, device=device, **custom)
    run.origin = {"command": command or "refineseg.train", "commit": commit}
    return fit(run)


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
    loss_of = make_loss(config, class_pixels.sum(0), run.custom.get("loss"))
    batches = Batches(
        len(run.pictures),
        config.labelled_in_batch,
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
    for images, labels in training_loader(run.pictures, with_unlabelled(run, batches), config.workers):
        waited = time.perf_counter() - clock
        step = run.position.step
        share = rate(step, run.steps, config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * share
        seed_step(config.seed, step, fabric.global_rank)
        images, labels = to_input(images, fabric.device), labels.to(fabric.device)
        logits = wrapped(images, upsample=False)
        loss = loss_of(logits, labels.masked_fill(labels == UNLABELLED, IGNORE))
        if run.teacher is not None:
            with fabric.autocast():
                expected = ask(run.teacher, images)
            taught = soft_loss(logits, expected, labels, config.teacher_temperature)
            loss = torch.lerp(loss, taught, config.teacher_weight)
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
        tell(run, Report("train", step + 1, run.steps, epoch, value, config.lr * share, speed, waiting, run=run))
        clock = now
        if run.position.step % run.per_epoch == 0 or run.is_last:
            evaluation = end_of_epoch(run, optimizer, config.lr * share)
            model.train()
            clock = time.perf_counter()
        if run.is_last:
            break
    return evaluation if evaluation is not None else validate(run, whole_network(run.trained))


def tell(run: Run, report: Report) -> None:
    """Tell the callbacks; one that raises StopTraining makes the newest step the last."""
    try:
        run.report(report)
    except StopTraining:
        run.stopped = True


def with_unlabelled(run: Run, batches: Batches) -> Batches | WithUnlabelled:
    """The batches with their share of pictures without masks, where there are any."""
    if not run.pictures.unlabelled_count:
        return batches
    return WithUnlabelled(batches, run.pictures.unlabelled_count, run.config.unlabelled_in_batch)


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """Bx3xHxW uint8 to float32 in [0, 1], channels last; floats, of channels, are in their range already."""
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
    epoch, last = -(-position.step // run.per_epoch), run.is_last
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
    tell(run, Report("epoch", position.step, run.steps, epoch - 1, row=row, run=run))
    run.fabric.barrier()
    return evaluation


def validate(run: Run, network: RefineNet) -> Evaluation:
    """Score a network on ``val`` with the predictor, in float32, large pictures in windows.

    Each process takes a share of the pictures.
    """
    card = ModelCard("validation", run.data.label_map, channels=run.data.channels)
    segmenter = Segmenter.from_network(network, card, str(run.fabric.device))
    return evaluate(
        segmenter,
        run.data,
        "val",
        protocol=Protocol(tile="auto"),
        progress=lambda done, of: run.report(Report("validating", done, of)),
    )
