"""Milliseconds per picture at 480x360 of one model by every engine, in turns in one process.

python benchmarks/engines.py [--model camvid] [FILE.onnx FILE.xml FILE.pt2 ...] [--repeats 20] [--json FILE]

The model by torch is always there; each exported file is a candidate with its own engine, and .onnx also with
openvino where that is installed. Times are of the whole ``predict`` of a picture in memory.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
import json
from pathlib import Path
import statistics
import time

import numpy as np
import refineseg
from refineseg.inference.predictor import Segmenter
import torch

SIZE = (360, 480)
WARM = 3


def candidates(model: str, files: list[Path]) -> dict[str, Segmenter]:
    """By name, the reference first."""
    found: dict[str, Segmenter] = {"torch": refineseg.load(model, "cpu")}
    for file in files:
        segmenter = refineseg.load(file)
        found[f"{file.name} {segmenter.runner.name}"] = segmenter
        if file.suffix == ".onnx" and find_spec("openvino"):
            found[f"{file.name} openvino"] = refineseg.load(file, engine="openvino")
    return found


def main() -> None:
    """Print medians, spread and the ratio to torch."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--model", default="camvid")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    picture = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    found = candidates(given.model, given.files)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for repeat in range(given.repeats + WARM):
        for name, segmenter in found.items():
            start = time.perf_counter()
            segmenter.predict(picture)
            if repeat >= WARM:
                seconds[name].append(time.perf_counter() - start)
    base = seconds["torch"]
    figures = {
        name: {
            "median_ms": round(1000 * statistics.median(values), 1),
            "fastest_ms": round(1000 * min(values), 1),
            "slowest_ms": round(1000 * max(values), 1),
            "times_torch": round(statistics.median(a / b for a, b in zip(values, base, strict=True)), 3),
        }
        for name, values in seconds.items()
    }
    for name, figure in figures.items():
        print(
            f"{name:32} {figure['median_ms']:8} ms ({figure['fastest_ms']} to {figure['slowest_ms']}), "
            f"{figure['times_torch']} of torch"
        )
    if given.json:
        content = {"size": SIZE, "repeats": given.repeats, "torch": torch.__version__, "figures": figures}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
