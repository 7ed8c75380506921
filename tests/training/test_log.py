"""What a run writes of its metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.kill_resume import events_of

from refineseg.training.tracking.metrics_log import MetricsLog


def log_of_steps(folder: Path, steps: list[int]) -> None:
    log = MetricsLog()
    for step in steps:
        log.add({"epoch": step // 3, "step": step, "lr": 0.1, "loss": step / 8, "mean_iou": None})
        log.write(folder)


def test_tensorboard_shows_every_epoch_of_a_fast_run(tmp_path: Path) -> None:
    """Twelve epochs within a second; three of them again, as after a kill."""
    pytest.importorskip("tensorboard")
    log_of_steps(tmp_path, list(range(3, 39, 3)))
    log_of_steps(tmp_path, [30, 33, 36])
    shown = events_of(tmp_path)
    assert shown["loss"] == [(step, step / 8) for step in range(3, 39, 3)]
    assert set(shown) == {"lr", "loss"}
    assert not [path for path in (tmp_path / "tensorboard").iterdir() if path.name.startswith(".")]
