"""How long OpenMP's threads should spin while they wait: python benchmarks/waiting.py [--loops 3] [--rounds 3]

Predicts with the bundled model ``camvid`` (480x360, two threads) in a process for each setting, in turns, beside
LOOPS processes that only count, each in a process group of its own. Median processor and clock seconds a picture.
A process that takes longer than a minute is ended.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

SPINS = ("300000", "10000", "3000", "1000")  # the first is libgomp's own choice
PICTURES = 9
WORK = f"""
import statistics, time
import numpy as np
import refineseg
import torch
torch.set_num_threads(2)
model = refineseg.load("camvid")
picture = np.random.default_rng(0).integers(0, 255, (360, 480, 3), dtype=np.uint8)
model.predict(picture)
processor, clock = [], []
for _ in range({PICTURES}):
    before = time.process_time(), time.perf_counter()
    model.predict(picture)
    processor.append(time.process_time() - before[0])
    clock.append(time.perf_counter() - before[1])
print(f"{{statistics.median(processor):9.3f}} {{statistics.median(clock):9.3f}}")
"""


def measure(spins: str) -> str:
    """Both medians as text, of one process."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", WORK],
            env=os.environ | {"GOMP_SPINCOUNT": spins},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return "above 60 s in all"
    return done.stdout.rstrip()


def main() -> None:
    """Print a line for each process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loops", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
        for _ in range(given.loops)
    ]
    try:
        print("round    spins  processor     clock")
        for turn in range(given.rounds):
            for spins in SPINS:
                print(f"{turn + 1:5} {spins:>8}  {measure(spins)}", flush=True)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


if __name__ == "__main__":
    main()
