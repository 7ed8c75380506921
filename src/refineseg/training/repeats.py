"""Training with several seeds: mean and spread of the scores."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from refineseg.config import TrainConfig
from refineseg.config.yaml import to_yaml
from refineseg.data.dataset import SegmentationData
from refineseg.errors import InputError
from refineseg.system.files import atomic_write
from refineseg.system.lock import check_unused, locked
from refineseg.system.processes import launched_world
from refineseg.training.loop import train
from refineseg.training.validation import SCORES

SUMMARY = "repeats.json"


@dataclass(frozen=True)
class Repeat:
    """A run: its seed, its folder, and the scores of its last weights on ``val``."""

    seed: int
    folder: str
    mean_iou: float
    pixel_accuracy: float
    mean_class_accuracy: float


@dataclass(frozen=True)
class ScoreSpread:
    """Mean, standard deviation (of a sample, n - 1; 0 for one run), smallest and largest."""

    mean: float
    std: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} +- {self.std:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Repeats:
    """Runs in the order of their seeds, scored by their last weights: the best on ``val`` would be biased."""

    runs: tuple[Repeat, ...]
    metric: str

    def spread(self, name: str = "mean_iou") -> ScoreSpread:
        """Spread of a score in ``SCORES`` over all runs."""
        values = [getattr(run, name) for run in self.runs]
        std = statistics.stdev(values) if len(values) > 1 else 0.0
        return ScoreSpread(statistics.fmean(values), std, min(values), max(values))

    @property
    def best(self) -> Repeat:
        """The run with the best metric."""
        return max(self.runs, key=lambda run: float(getattr(run, self.metric)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metric": self.metric,
            "spread": {name: asdict(self.spread(name)) for name in SCORES},
            "runs": [asdict(run) for run in self.runs],
        }


def train_repeats(
    config: TrainConfig,
    data: SegmentationData,
    folder: str | Path,
    count: int,
    *,
    resume: bool = False,
    each: Callable[[int], None] | None = None,
    **options: Any,
) -> Repeats:
    """Train with ``count`` seeds from ``config.seed`` on into RUN/seed-N, and write RUN/repeats.json.

    The folder RUN is new or empty unless ``resume``, which keeps finished runs and resumes the interrupted one.
    ``each`` is called with the seed before each run; ``options`` are those of ``train``. InputError for fewer
    than two runs, a RUN that is not empty, and the errors of ``train``.
    """
    folder = Path(folder)
    if launched_world()[1] > 1:
        raise InputError("expected one process with --repeats; under torchrun start a run for each --seed")
    if count < 2:
        raise InputError(f"expected 2 or more --repeats, got {count}")
    with locked(folder):
        check_unused(folder, resume)
        atomic_write(folder / "config.yaml", to_yaml(config.to_dict()))
        runs: list[Repeat] = []
        for seed in range(config.seed, config.seed + count):
            into = folder / f"seed-{seed}"
            if each is not None:
                each(seed)
            begun = (into / "config.yaml").is_file()
            scores = train(replace(config, seed=seed), data, into, resume=resume and begun, **options).scores
            runs.append(Repeat(seed, into.name, *(getattr(scores, name) for name in SCORES)))
            # After each run, so that nothing is lost if the next fails.
            repeats = Repeats(tuple(runs), config.metric)
            atomic_write(folder / SUMMARY, json.dumps(repeats.to_dict(), indent=1) + "\n")
        return repeats
