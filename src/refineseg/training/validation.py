"""Validation, model folders, log and checkpoint between steps."""

from __future__ import annotations

import time
from typing import Any

import torch

from refineseg.evaluation.evaluate import Evaluation, evaluate
from refineseg.evaluation.protocol import Protocol
from refineseg.inference.predictor import Segmenter
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.model.refinenet import RefineNet
from refineseg.system import processes
from refineseg.system.text import counted
from refineseg.training.checkpoint import save_checkpoint
from refineseg.training.custom import StopTraining, TrainingEvent
from refineseg.training.parallel import whole_network
from refineseg.training.run import BEST, CHECKPOINTS, CURVES, LAST, Run, checkpoint_state, describe_run
from refineseg.training.tracking.run_page import Examples, examples_of

SCORES = ("mean_iou", "pixel_accuracy", "mean_class_accuracy")


def save_progress(run: Run, optimizer: Any, lr: float) -> Evaluation | None:
    """Validate if due; then the first process writes model folders, log and checkpoint.

    The checkpoint is last, so that it never claims more than is on disk.
    """
    position, start = run.position, time.perf_counter()
    row: dict[str, float | int | None] = {
        "epoch": -(-position.step // run.per_epoch),
        "step": position.step,
        "lr": lr,
        "loss": position.loss_sum / max(1, position.loss_steps),
    }
    position.loss_sum, position.loss_steps = 0.0, 0
    evaluation = None
    if run.is_last or run.validation_is_due:
        network = whole_network(run.trained)
        evaluation = validate(run, network)
        row |= {name: getattr(evaluation.scores, name) for name in SCORES}
        better = count_validation(run, float(row[run.config.metric] or 0.0))
        for name in [BEST, LAST] if better else [LAST]:
            if run.fabric.is_global_zero:
                save_model_folder(run.folder / name, network, describe_run(run, evaluation))
    took = torch.tensor(time.perf_counter() - start, device=run.fabric.device)
    seconds = processes.mean(took).item()
    position.seconds += seconds
    if evaluation is not None:
        position.validated_seconds, position.validation_seconds = position.seconds, seconds
    run.log.add(row | {"seconds": round(position.seconds, 1)})
    state = checkpoint_state(run, optimizer)
    if run.fabric.is_global_zero:
        run.log.write(run.folder, examples_of(evaluation))
        if run.is_last:
            run.log.plot(run.folder / CURVES)
        save_checkpoint(run.folder / CHECKPOINTS, position.step, state)
    epoch = position.step // run.per_epoch
    notify(run, TrainingEvent("epoch", position.step, run.steps, epoch, row=row, evaluation=evaluation, run=run))
    run.fabric.barrier()
    return evaluation


def count_validation(run: Run, value: float) -> bool:
    """Whether the metric is the best so far; ends the run after ``patience`` validations without improvement."""
    position, patience = run.position, run.config.patience
    better = value > position.best
    position.best = max(value, position.best)
    position.stale = 0 if better else position.stale + 1
    if patience and position.stale >= patience and not run.is_last:
        position.ended = True
        waited = counted(patience, "validation")
        line = f"{run.config.metric} has not risen in {waited}: the run ends at step {position.step}"
        run.report(TrainingEvent("note", note=line))
    return better


def notify(run: Run, report: TrainingEvent) -> None:
    """Call the callbacks; StopTraining ends the run."""
    try:
        run.report(report)
    except StopTraining:
        run.request_stop()


def validate(run: Run, network: RefineNet) -> Evaluation:
    """Score a network on ``val`` in float32, large pictures in windows; processes share the pictures."""
    card = ModelCard("validation", run.data.label_map, channels=run.data.channels)
    segmenter = Segmenter.from_network(network, card, str(run.fabric.device))
    return evaluate(
        segmenter,
        run.data,
        "val",
        protocol=Protocol(tile="auto"),
        measures=[Examples(run.data)],
        progress=lambda done, of: run.report(TrainingEvent("validating", done, of)),
    )
