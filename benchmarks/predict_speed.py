"""Milliseconds per picture of the bundled predictor at 480x360: float32 and bf16, interleaved in one process.

python benchmarks/predict_speed.py [--repeats 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import statistics
import time

import numpy as np
from refineseg.loading import load
import torch

SIZE = (360, 480)


def main() -> None:
    """Print median and spread; the array is in memory, so reading and writing files are not in it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(2)
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    candidates = {name: load("camvid", "cpu", precision=name) for name in ("32", "bf16")}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(given.repeats + 3):
        for name, segmenter in candidates.items():
            start = time.perf_counter()
            segmenter.predict(picture)
            if repeat >= 3:
                seconds[name].append(time.perf_counter() - start)
    figures = {
        name: {
            "median_ms": round(1000 * statistics.median(values), 1),
            "fastest_ms": round(1000 * min(values), 1),
            "slowest_ms": round(1000 * max(values), 1),
        }
        for name, values in seconds.items()
    }
    for name, figure in figures.items():
        print(f"{name:5} median {figure['median_ms']} ms ({figure['fastest_ms']} to {figure['slowest_ms']})")
    if given.json:
        content = {"size": SIZE, "repeats": given.repeats, "torch": torch.__version__, "figures": figures}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
