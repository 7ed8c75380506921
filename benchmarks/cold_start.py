"""Seconds from the shell to the result: help, import, and one picture; each command several times, in turns.

python benchmarks/cold_start.py [--repeats 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

GOAL = {"refineseg --help": 0.5, "import refineseg": 1.5, "refineseg predict, one picture": 4.0}


def main() -> None:
    """Print median and spread; the first run of each, which reads the files from the disk, does not count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "street.jpg"
        pixels = np.random.default_rng(0).integers(0, 255, (360, 480, 3), np.uint8)
        Image.fromarray(pixels).save(picture)
        run = [sys.executable, "-m", "refineseg"]
        commands = {
            "refineseg --help": [*run, "--help"],
            "import refineseg": [sys.executable, "-c", "import refineseg"],
            "import refineseg and its loader": [sys.executable, "-c", "import refineseg; refineseg.load"],
            "refineseg predict, one picture": [
                *run,
                "predict",
                str(picture),
                "-o",
                f"{folder}/out",
                "--overwrite",
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for repeat in range(given.repeats + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                if repeat:
                    seconds[name].append(time.perf_counter() - start)
    figures: dict[str, dict[str, float]] = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        goal = f", goal {GOAL[name]}" if name in GOAL else ""
        print(f"{name}: {median:.2f} s ({min(values):.2f} to {max(values):.2f}){goal}")
        figures[name] = {
            "median_s": round(median, 3),
            "min_s": round(min(values), 3),
            "max_s": round(max(values), 3),
        }
    if given.json:
        given.json.write_text(json.dumps({"repeats": given.repeats, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
