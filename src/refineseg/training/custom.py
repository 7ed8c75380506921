"""What a caller may pass to ``refineseg.train`` in place of a setting, and callbacks."""

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
    """An event passed to callbacks.

    Attributes:
        phase: ``reading`` pictures, ``train`` after each optimiser step, ``validating`` after each picture,
            ``epoch`` after validation and checkpoint, ``end`` after the last step; ``start``, ``warning`` and
            ``note`` for a line in words.
        step, steps: done and in all, of the phase.
        epoch: counted from 0.
        loss: loss of the step; on a GPU the newest one fetched, every few steps.
        lr: rate of the decoder.
        images_per_second: images per second of the step.
        waiting: share of the step's time that it waited for its pictures.
        note: the line in words.
        row: the line of metrics.csv, of ``epoch``.
        evaluation: evaluation of ``epoch``, where it was validated; its measure ``Examples`` has pictures.
        run: the run, with ``model``, ``trained`` (the moving average where there is one), ``fabric`` and
            ``folder``; of ``train``, ``epoch`` and ``end``.
    """

    phase: str = "train"
    step: int = 0
    steps: int = 0
    epoch: int = 0
    loss: float = 0.0
    lr: float = 0.0
    images_per_second: float = 0.0
    waiting: float = 0.0
    note: str = ""
    row: dict[str, float | int | None] | None = None
    evaluation: Evaluation | None = None
    run: Run | None = None


Callback = Callable[[TrainingEvent], None]


class StopTraining(Exception):
    """Raised by a callback of ``train`` or ``epoch`` to end the run as if this were its last step."""


class Custom(TypedDict, total=False):
    """What ``refineseg.train`` takes beside settings.

    Attributes:
        teacher: images BxCxHxW in [0, 1] to logits BxKxhxw, whose soft labels are learned too.
        loss: logits BxKxHxW and labels BxHxW (int64, 255 ignored) of one size to a scalar; replaces ``loss``.
        augment: image CxHxW, labels HxW (uint8, 255 ignored) and a random generator to both at the size of
            ``augment.crop``; replaces the joint transforms.
        callbacks: called with every TrainingEvent, in this order, on the first process.
    """

    teacher: Teacher
    loss: Loss
    augment: Transform
    callbacks: Sequence[Callback]


def custom_names(custom: Custom) -> dict[str, str]:
    """Names of what replaces settings, for the model card and ``--resume``."""
    parts: dict[str, Any] = {key: custom.get(key) for key in ("teacher", "loss", "augment")}
    return {key: _name(part) for key, part in parts.items() if part is not None}


def _name(part: object) -> str:
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"
