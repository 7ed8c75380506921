"""Custom parts of ``refineseg.train``, and callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from refineseg.data.batches.transforms import Transform
from refineseg.evaluation.evaluate import Evaluation
from refineseg.training.distillation import Teacher
from refineseg.training.losses import Loss

if TYPE_CHECKING:
    from refineseg.training.run import Run


@dataclass(frozen=True)
class TrainingEvent:
    """An event passed to callbacks."""

    # ``reading`` pictures, ``train`` after each optimiser step, ``validating`` after each picture, ``epoch`` after
    # validation and checkpoint, ``end`` after the last step, ``stopped`` after an error or Ctrl+C; ``start``,
    # ``warning`` and ``note`` for messages
    phase: str = "train"
    # steps done and total, in this phase
    step: int = 0
    steps: int = 0
    epoch: int = 0  # 0-based
    loss: float = 0.0  # loss of the step; on a GPU fetched every few steps
    lr: float = 0.0  # learning rate of the decoder
    # speed of the step, and share of its time spent waiting for pictures; on a GPU of the steps up to a fetch
    images_per_second: float = 0.0
    waiting: float = 0.0
    note: str = ""  # the message
    row: dict[str, float | int | None] | None = None  # with ``epoch``: the row of metrics.csv
    # with ``epoch``: the evaluation, if validated; its measure ``Examples`` has pictures
    evaluation: Evaluation | None = None
    # with ``train``, ``epoch``, ``end`` and ``stopped``: the run, with ``model``, ``trained`` (the moving
    # average, if any), ``fabric`` and ``folder``
    run: Run | None = None


Callback = Callable[[TrainingEvent], None]


class StopTraining(Exception):
    """Raised by a callback in ``train`` or ``epoch`` to end the run after this step, or soon after it."""


class Custom(TypedDict, total=False):
    """Arguments of ``refineseg.train`` other than settings."""

    teacher: Teacher  # from images BxCxHxW in [0, 1] to logits BxKxhxw, for distillation
    loss: Loss  # from logits BxKxHxW and labels BxHxW (int64, 255 ignored) to a scalar
    # from image CxHxW, labels HxW (uint8, 255 ignored) and a random generator to both at the size of
    # ``augment.crop``; replaces the joint transforms
    augment: Transform
    callbacks: Sequence[Callback]  # called with every TrainingEvent, in this order, on the first process


def custom_names(custom: Custom) -> dict[str, str]:
    """Names of custom parts, for the model card and ``--resume``."""
    parts: dict[str, Any] = {key: custom.get(key) for key in ("teacher", "loss", "augment")}
    return {key: _name(part) for key, part in parts.items() if part is not None}


def _name(part: object) -> str:
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"
