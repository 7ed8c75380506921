"""Processor time from score maps to labels: the predictor's NumPy and torch's interpolate and argmax, in turns.

python benchmarks/postprocessing.py [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from refineseg.inference.array_ops import ArrayOps
import torch
from torch.nn import functional as F

SETTINGS = ((11, 360, 480), (19, 1024, 2048))  # classes, height, width


def main() -> None:
    """Print medians in milliseconds of processor time, which other processes disturb least; one thread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    array_ops = ArrayOps()
    for classes, height, width in SETTINGS:
        maps = np.random.default_rng(0).normal(size=(1, classes, height // 4, width // 4)).astype(np.float32)

        def ours(maps=maps, size=(height, width), classes=classes) -> object:
            ranges = array_ops.ranges(0, size[0], classes, size[1])
            return [array_ops.largest(array_ops.upsampled(maps, *rows, size)) for rows in ranges]

        def torchs(maps=maps, size=(height, width)) -> object:
            return F.interpolate(torch.from_numpy(maps), size, mode="bilinear").argmax(1)

        taken: dict[str, list[float]] = {"NumPy": [], "torch": []}
        for _ in range(repeats):
            for name, work in (("NumPy", ours), ("torch", torchs)):
                start = time.process_time()
                work()
                taken[name].append(1000 * (time.process_time() - start))
        figures = ", ".join(f"{name} {statistics.median(values):.1f} ms" for name, values in taken.items())
        print(f"{classes} classes, {width}x{height}: {figures}")


if __name__ == "__main__":
    main()
