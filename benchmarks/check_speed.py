"""Speed and memory of ``refineseg check`` on a generated set: python benchmarks/check_speed.py [--pairs 2000].

Prints a table and, with --json FILE, writes it. The target is 2,000 masks of 480x360 in under 60 s on 2 cores,
with memory that does not grow with the number of pairs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from pathlib import Path
import resource
import tempfile
import time
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from refineseg.data.check import check_data

WIDTH, HEIGHT, CLASSES = 480, 360, 11


def write_pair(root: Path, index: int) -> None:
    """A textured picture of blobs, about as hard to decode as a photograph, and its mask."""
    rng = np.random.default_rng(index)
    field = Image.fromarray(rng.integers(0, 256, (12, 16), dtype=np.uint8)).resize(
        (WIDTH, HEIGHT), Image.Resampling.BICUBIC
    )
    labels = (np.asarray(field).astype(np.int32) * CLASSES // 256).astype(np.uint8)
    tint = rng.integers(30, 226, (CLASSES, 3))[labels]
    noise = Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)).filter(
        ImageFilter.GaussianBlur(1)
    )
    picture = np.clip(tint + (np.asarray(noise).astype(np.int32) - 128)[..., None] // 2, 0, 255).astype(np.uint8)
    Image.fromarray(picture).save(root / "images" / f"{index:06}.png", compress_level=3)
    Image.fromarray(labels).save(root / "masks" / f"{index:06}.png")


def make(root: Path, pairs: int) -> None:
    for name in ("images", "masks"):
        (root / name).mkdir()
    (root / "labels.yaml").write_text(f"classes: {[f'class {index}' for index in range(CLASSES)]}\n")
    for index in range(pairs):
        write_pair(root, index)


def measure(spec: str, quick: bool, told: multiprocessing.SimpleQueue[dict[str, Any]]) -> None:
    """Check in a process of its own, so that its peak memory is that of the check."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    report = check_data(spec, quick=quick)
    told.put(
        {
            "pairs": report.checked,
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "start_mb": before / 1024,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "findings": [item.kind for item in report.findings],
        }
    )


def run(spec: str, quick: bool = False) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    process = context.Process(target=measure, args=(spec, quick, told))
    process.start()
    row = told.get()
    process.join()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, pairs in (("a quarter", options.pairs // 4), ("all", options.pairs)):
            root = Path(folder) / name.replace(" ", "-")
            root.mkdir()
            make(root, pairs)
            rows.append({"set": name, **run(f"folder:{root}")})
        rows.append({"set": "all, quick", **run(f"folder:{root}", quick=True)})
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f}, pictures of {WIDTH}x{HEIGHT}")
    print(f"{'set':12}{'pairs':>7}{'s':>8}{'cpu s':>8}{'peak MB':>9}  findings")
    for row in rows:
        figures = f"{row['pairs']:7}{row['seconds']:8.1f}{row['cpu_seconds']:8.1f}{row['peak_mb']:9.0f}"
        print(f"{row['set']:12}{figures}  {', '.join(row['findings']) or 'none'}")
    if options.json is not None:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "load": load, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
