"""Milliseconds per picture of the bundled models in every engine, float32 and int8, in one run.

python benchmarks/engines.py [MODEL ...] [--sizes 360x480 768x1024] [--repeats 15] [--exports FOLDER] [--json FILE]

Times are of the whole ``predict`` of a picture in memory: of each model and size one after the other, its engines
alternating within one process. Float32 files are exported into FOLDER unless they are there; int8 files are the
bundled ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import statistics
import time
from typing import Any

import numpy as np
import refineseg
from refineseg.inference.predictor import Segmenter
from refineseg.model.folders.find_model import bundled_exports, bundled_models
import torch

ENGINES = ("onnxruntime", "openvino")
WARM = 3


def candidates(model: str, exports: Path) -> dict[str, Segmenter]:
    """By name, the reference first."""
    float32, int8 = exports / f"{model}.onnx", bundled_exports()[f"{model}-int8"]
    if not float32.exists():
        refineseg.export(model, float32)
    found = {"torch": refineseg.load(model, "cpu")}
    found |= {engine: refineseg.load(float32, engine=engine) for engine in ENGINES}
    return found | {f"int8, {engine}": refineseg.load(int8, engine=engine) for engine in ENGINES}


def times(found: dict[str, Segmenter], size: tuple[int, int], repeats: int) -> dict[str, dict[str, float]]:
    """Median, least and greatest milliseconds by engine."""
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for repeat in range(repeats + WARM):
        for name, segmenter in found.items():
            start = time.perf_counter()
            segmenter.predict(picture)
            if repeat >= WARM:
                seconds[name].append(time.perf_counter() - start)
    measures = {"median_ms": statistics.median, "fastest_ms": min, "slowest_ms": max}
    return {
        name: {key: round(1000 * measure(values), 1) for key, measure in measures.items()}
        for name, values in seconds.items()
    }


def main() -> None:
    """Print a table of medians (and the fastest) for each size, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(bundled_models()))
    parser.add_argument("--sizes", nargs="+", default=["360x480", "768x1024"], metavar="HxW")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--exports", type=Path, default=Path("runs/engines"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for text in given.sizes:
        height, width = (int(side) for side in text.split("x"))
        for model in given.models:
            figures = times(candidates(model, given.exports), (height, width), given.repeats)
            if not rows or rows[-1]["size"] != [height, width]:
                print(f"\n{width}x{height}\n| | {' | '.join(figures)} |\n" + "|---" * (len(figures) + 1) + "|")
            cells = ("{median_ms:,.1f} ({fastest_ms:,.1f})".format(**row) for row in figures.values())
            print(f"| `{model}` | {' | '.join(cells)} |", flush=True)
            rows.append({"model": model, "size": [height, width], "figures": figures})
    if given.json:
        content = {
            "threads": torch.get_num_threads(),
            "repeats": given.repeats,
            "torch": torch.__version__,
            "rows": rows,
        }
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
