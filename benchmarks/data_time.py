"""How long training waits for its pictures.

    python -m benchmarks.data_time [--data SPEC] [--steps 12] [--json FILE]

Trains the small network (refinenet-lw-mbv2, batch 8) for a few steps on two threads and prints, with the reading
in the step's own process (workers 0) and in one beside it (workers 1), the share of the steps' time that went by
before their pictures were there. Made pictures of 480x360 by default; also with a cache too small for any of them,
so that every picture is decoded anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
import statistics
import tempfile
from typing import Any

from benchmarks.check_speed import make
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import fit
from refineseg.training.preparation.prepare_run import prepare_run
import torch

PAIRS = 64
CASES = ((0, 2048), (1, 2048), (1, 0))  # workers, megabytes of cache


def measure(data: SegmentationData, config: TrainConfig, folder: Path) -> dict[str, Any]:
    """Shares and speeds of all steps but the first, which starts the worker."""
    reports: list[TrainingEvent] = []
    run = prepare_run(config, data, folder, callbacks=[reports.append], device="cpu")
    fit(run)
    steps = [report for report in reports if report.phase == "train"][1:]
    return {
        "workers": config.workers,
        "cache_mb": config.cache_mb,
        "kept": len(run.pictures.kept),
        "steps": len(steps),
        "waiting": statistics.mean(report.waiting for report in steps),
        "longest_wait": max(report.waiting for report in steps),
        "images_per_second": statistics.median(report.images_per_second for report in steps),
    }


def main() -> None:
    """Print a table and, with --json FILE, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--crop", type=int, nargs=2, default=(360, 480))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    config = TrainConfig(
        fields={"dropout": 0.0},
        augment=AugmentConfig(crop=tuple(given.crop)),
        steps=given.steps,
        validate_every=given.steps,
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        if given.data is None:
            root.mkdir()
            make(root, PAIRS)
        data = open_data(given.data or f"folder:{root}")
        one = dataclasses.replace(data, splits={"train": data.split("train"), "val": data.split("val")[:1]})
        for workers, cache_mb in CASES:
            case = dataclasses.replace(config, workers=workers, cache_mb=cache_mb)
            rows.append(measure(one, case, Path(folder) / f"run-{workers}-{cache_mb}"))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {data.name}, crop {given.crop}")
    print(f"{'workers':>8}{'cache MB':>10}{'in memory':>11}{'waiting':>9}{'longest':>9}{'images/s':>10}")
    for row in rows:
        figures = f"{row['waiting']:9.1%}{row['longest_wait']:9.1%}{row['images_per_second']:10.2f}"
        print(f"{row['workers']:8}{row['cache_mb']:10}{row['kept']:11}{figures}")
    if given.json is not None:
        content = {"data": data.name, "crop": given.crop, "torch": torch.__version__, "rows": rows}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
