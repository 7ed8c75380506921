"""Progress of refineseg train on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refineseg.cli.common import errors

if TYPE_CHECKING:
    from rich.progress import Progress

    from refineseg.training.custom import TrainingEvent


LINES = 50  # about as many per run without a terminal


class TrainingProgress:
    """Shows events of the loop: bars for reading, training and validation, and a line per score."""

    def __init__(self, bar: Progress, resumed: bool = False) -> None:
        self.bar, self.resumed = bar, resumed
        self.tasks: dict[str, Any] = {}
        self.loss: float | None = None
        self.scores: list[float] = []  # mean IoU of every validation
        self.waiting: list[float] = []  # by step; the first, which starts the workers, is left out

    def share_waiting(self) -> float:
        """Share of time waiting for pictures in the last hundred steps."""
        last = self.waiting[1:][-100:]
        return sum(last) / max(1, len(last))

    def state(self, event: TrainingEvent) -> str:
        """Loss, mean IoU with trend, and remaining time, as far as known."""
        parts = [f"loss {self.loss:.3f}"] if self.loss is not None else []
        if self.scores:
            trend = f" ({self.scores[-1] - self.scores[-2]:+.3f})" if self.scores[1:] else ""
            parts.append(f"mean IoU {self.scores[-1]:.3f}{trend}")
        if event.run is not None and event.step > 1 and event.step < event.steps:
            parts.append(f"{event.run.time_left} left")
        return ", ".join(parts)

    def place(self, event: TrainingEvent) -> str:
        """Steps done and total, which is an estimate if time ends the run."""
        estimate = "~" if event.run is not None and event.run.config.minutes is not None else ""
        return f"step {event.step}/{estimate}{event.steps}"

    def __call__(self, event: TrainingEvent) -> None:
        """Show one event."""
        match event.phase:
            case "note" | "warning" | "start":
                start = "started from" if self.resumed else "starts from"
                errors.print(f"{start if event.phase == 'start' else event.phase}: {event.note}")
            case "epoch" if event.evaluation is not None:
                self.scores.append(event.evaluation.scores.mean_iou)
                errors.print(f"{self.place(event)}: {self.state(event)}")
            case "reading" | "train" | "validating":
                self.move(event)

    def move(self, event: TrainingEvent) -> None:
        """Update the bar of a phase, or print a line now and then without a terminal."""
        training, note = event.phase == "train", ""
        if event.phase not in self.tasks:
            self.tasks[event.phase] = self.bar.add_task(event.phase, total=event.steps, note="")
        if training:
            self.waiting.append(event.waiting)
            self.loss = event.loss if self.loss is None else 0.95 * self.loss + 0.05 * event.loss
            note = self.state(event)
        self.bar.update(self.tasks[event.phase], completed=event.step, total=event.steps, note=note)
        if training and not self.bar.console.is_terminal and event.step % max(1, event.steps // LINES) == 0:
            speed = f"rate {event.lr:.1e}, {event.images_per_second:.1f} images/s"
            waiting = f"{self.share_waiting():.0%} of the time waiting for pictures"
            errors.print(f"{self.place(event)}: {note}, {speed}, {waiting}")
        if not training and event.step == event.steps:
            self.bar.remove_task(self.tasks.pop(event.phase))
