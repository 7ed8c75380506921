"""The training loop. Fabric handles devices, precision and processes."""

from __future__ import annotations

import itertools
import math
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from refineseg.config import TrainConfig
from refineseg.data.batches.class_sampling import SHORTEST, class_balanced_weights
from refineseg.data.batches.loader import Batches, training_loader
from refineseg.data.dataset import SegmentationData
from refineseg.data.registry import open_data
from refineseg.errors import InputError, RefinesegError
from refineseg.evaluation.evaluate import Evaluation
from refineseg.system import processes
from refineseg.system.lock import locked
from refineseg.training.checkpoint import checkpoints
from refineseg.training.custom import Custom, TrainingEvent
from refineseg.training.dead_blocks import dead_blocks, dead_blocks_warning
from refineseg.training.optimizer import MovingAverage, freeze, lr_factor, own_shard
from refineseg.training.parallel import arrange, set_up, whole_network
from refineseg.training.preparation.prepare_run import prepare_run
from refineseg.training.run import CHECKPOINTS, LAST, Run, restore
from refineseg.training.step import Step, seed_step, to_input
from refineseg.training.validation import notify, save_progress, validate

FETCHED = 16  # steps between fetches of losses from a GPU, which synchronise
EXTREME = 1e3  # extreme input values, relative to the data's range


def train(
    config: TrainConfig,
    data: SegmentationData | str,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    command: str = "",
    commit: str = "",
    **custom: Unpack[Custom],
) -> Evaluation:
    """Train a network and write RUN/config.yaml, index.html, metrics.csv, curves.png, best/, last/, checkpoints/.

    Args:
        config: the settings.
        data: the data set, or ``NAME:ROOT`` as on the command line, with splits ``train`` and ``val``.
        folder: RUN; new or empty unless ``resume``.
        resume: continue from the newest intact checkpoint, with the result of an uninterrupted run.
        device: ``auto``, ``cpu`` or ``cuda``.
        command: for the provenance on the model card.
        commit: of the code, also for the model card.
        custom: ``teacher``, ``loss``, ``augment`` and ``callbacks``; see ``refineseg.training.custom.Custom``.

    Returns:
        The evaluation of the last weights on ``val``.

    Raises:
        InputError: RUN is not empty, another run writes to it, or pictures or masks are invalid.
        ConfigError: conflicting settings, or a step that does not fit in memory.
    """
    data = open_data(data, drop_bad=config.drop_bad) if isinstance(data, str) else data
    with locked(folder) if processes.is_first() else nullcontext():
        run = prepare_run(config, data, folder, resume=resume, device=device, **custom)
        run.origin = {"command": command or "refineseg.train", "commit": commit}
        try:
            return fit(run)
        except BaseException as error:  # Ctrl+C too
            note = str(error) if isinstance(error, RefinesegError) else ""
            with suppress(Exception):  # the first error is the one to report
                run.report(TrainingEvent("stopped", run.position.step, run.steps, note=note, run=run))
            raise


def fit(run: Run) -> Evaluation:
    """The loop: step, average, log, validate, checkpoint."""
    config, fabric = run.config, run.fabric
    model = arrange(run.model, config)
    freeze(model, config)
    model = model.to(fabric.device)
    run.model = model
    run.average = MovingAverage(model, config.ema) if config.ema else None
    network, optimizer = set_up(fabric, model, run.average, config)
    if checkpoints(run.folder / CHECKPOINTS):  # none if the run was interrupted early
        restore(run, optimizer)
    batches = make_batches(run)
    take_step = Step(run, network, optimizer)
    model.train()
    evaluation: Evaluation | None = None
    losses: list[Tensor] = []  # since the last fetch
    dead: list[str] = []  # blocks that were warned of
    value, pace = 0.0, Pace(config.batch_size)
    first, device = run.position.step, fabric.device.type
    drawn = map(batches.at, range(first, run.steps) if config.minutes is None else itertools.count(first))
    loader = training_loader(run.pictures, drawn, config.workers, pin=device == "cuda")
    for images, labels in loader if not run.is_last else ():
        waited = pace.lap(for_pictures=True)
        step, share = run.position.step, lr_factor(*run.schedule_progress, config)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * share
        seed_step(config.seed, step, fabric.global_rank)
        losses.append(take_step(images, labels))
        if run.average:
            run.average.update(model, step)
        run.advance(waited + pace.lap())
        due = run.is_last or run.progress_is_due
        if due or len(losses) == FETCHED or device == "cpu":
            count = len(losses)
            value = fetch_losses(run, losses, batches)
            run.spend(pace.lap())
            pace.measure(count)
        epoch, lr, speed = step // run.per_epoch, config.lr * share, pace.images_per_second
        notify(run, TrainingEvent("train", step + 1, run.steps, epoch, value, lr, speed, pace.waiting, run=run))
        if due or run.is_last:
            check_weights(run, batches)
            dead = warn_of_dead_blocks(run, images, dead)
            evaluation = save_progress(run, optimizer, lr)
            model.train()
            pace.clock = time.perf_counter()
        if run.is_last:
            break
    notify(run, TrainingEvent("end", run.position.step, run.steps, run=run))
    return evaluation if evaluation is not None else validate(run, whole_network(run.trained))


class Pace:
    """The time that steps take.

    A GPU is only handed the work of a step; it is waited for when losses are fetched. So the time of that counts,
    and the speed is that of all steps since the last fetch.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.clock = batch_size, time.perf_counter()
        self.images_per_second = self.waiting = 0.0  # waiting: share of the time that is spent on it, for pictures
        self._seconds = self._waited = 0.0  # since the last fetch

    def lap(self, for_pictures: bool = False) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        self._seconds += seconds
        self._waited += seconds if for_pictures else 0.0
        return seconds

    def measure(self, steps: int) -> None:
        """Set the speed by the steps since the last call."""
        self.images_per_second = self.batch_size * steps / self._seconds
        self.waiting = self._waited / self._seconds
        self._seconds = self._waited = 0.0


def make_batches(run: Run) -> Batches:
    """The batches of a run, with unlabelled pictures, if any."""
    config, count, class_pixels = run.config, len(run.pictures), run.pictures.class_pixels
    rounds = config.balanced_sampling == "paper" and count > SHORTEST
    return Batches(
        count,
        config.labelled_in_batch,
        config.seed,
        class_balanced_weights(class_pixels) if config.balanced_sampling is True else None,
        class_pixels if rounds else None,
        run.pictures.unlabelled_count,
        config.unlabelled_in_batch,
        run.fabric.global_rank,
        run.fabric.world_size,
    )


def fetch_losses(run: Run, losses: list[Tensor], batches: Batches) -> float:
    """The newest loss; all are counted and cleared. InputError if one is not finite.

    Processes share mean losses, time, and whether a callback ended the run, and decide by the shared values.
    Otherwise they could end at different steps and wait for each other forever.
    """
    position = run.position
    told = [torch.stack(losses), losses[0].new_tensor([float(run.asked_to_stop), run.own_seconds])]
    *values, stopped, seconds = processes.mean(torch.cat(told)).tolist()
    if run.fabric.world_size > 1:
        run.stopped, run.own_seconds = stopped > 0, 0.0
        position.seconds += seconds
    first = position.step - len(losses)
    losses.clear()
    for index, value in enumerate(values):
        if not math.isfinite(value):
            raise diverged(run, f"the loss, or the norm of its gradient, is {value}", first + index, batches)
    position.loss_sum += sum(values)
    position.loss_steps += len(values)
    return float(values[-1])


def check_weights(run: Run, batches: Batches) -> None:
    """InputError if a weight is not finite, before anything is saved."""
    finite = torch.stack([own_shard(value.detach()).isfinite().all() for value in run.model.parameters()]).all()
    if processes.mean(finite.float()).item() < 1:
        raise diverged(run, "weights are not finite", run.position.step - 1, batches)


def warn_of_dead_blocks(run: Run, images: Tensor, known: list[str]) -> list[str]:
    """The network's dead blocks; a warning if they are not those known."""
    with run.fabric.autocast():
        dead = dead_blocks(run.model, to_input(images, run.fabric.device))
    if dead and dead != known:
        note = dead_blocks_warning(dead, run.config.lr)
        notify(run, TrainingEvent("warning", run.position.step, run.steps, note=note, run=run))
    return dead


def diverged(run: Run, what: str, step: int, batches: Batches) -> InputError:
    """An error with the step, the pictures of its batch, and where the last good weights are."""
    named = []
    for draw in batches.at(step):
        image = run.pictures[draw][0]
        largest = float(image.abs().max()) if image.is_floating_point() else 0.0
        extreme = f" (values up to {largest:.3g})" if not largest < EXTREME else ""
        named.append(f"{run.pictures.samples[draw.index].image}{extreme}")
    scored = [row["step"] for row in run.log.rows if row["mean_iou"] is not None]
    kept = f"{run.folder / LAST} keeps the weights of step {scored[-1]}" if scored else "no weights were saved yet"
    return InputError(
        f"{what} at step {step + 1}: lower --lr, or use --precision 32, or look at the batch's pictures "
        f"({', '.join(named)}); {kept}"
    )
