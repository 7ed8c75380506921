"""Time of the boundary measures on a generated 1024x2048 picture of 19 classes, on one core: best of several.

python benchmarks/boundary_speed.py [--repeats N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import time

import numpy as np
from refineseg.evaluation.measures.boundary import BoundaryCounts, ContourPoints
from refineseg.labels import IGNORE, UInt8

HEIGHT, WIDTH, CLASSES = 1024, 2048, 19


def street(seed: int = 0, shift: int = 0) -> UInt8:
    """Bands, boxes, discs and thin poles, as many outline pixels as a Cityscapes picture; ``shift`` moves them."""
    draw = np.random.default_rng(seed)
    jitter = np.random.default_rng(seed + 1 + shift)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    labels = np.digitize(y + 20 * np.sin(x / 60), [300, 500, 620]).astype(np.uint8)
    for index in range(250):
        kind = np.uint8(4 + index % (CLASSES - 4))
        top, left = draw.integers(0, HEIGHT - 40), draw.integers(0, WIDTH - 40)
        size = int(draw.integers(8, 90))
        moved = jitter.integers(-shift, shift + 1, 2) if shift else (0, 0)
        top, left = max(0, top + moved[0]), max(0, left + moved[1])
        if index % 3:
            labels[top : top + size, left : left + (4 if index % 3 == 1 else size)] = kind
        else:
            part = np.s_[max(0, top - size) : top + size, max(0, left - size) : left + size]
            labels[part][(y[part] - top) ** 2 + (x[part] - left) ** 2 < size**2] = kind
    return labels


def main() -> None:
    """Print the best time and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    truth, prediction = street(), street(shift=6)
    truth[:, :40] = IGNORE
    seconds = []
    for _ in range(options.repeats):
        counts = BoundaryCounts.zeros(CLASSES)
        start = time.process_time()  # the process's own time: other work on the machine does not count
        counts.add(truth, prediction)
        seconds.append(time.process_time() - start)
    result = {
        "size": [HEIGHT, WIDTH],
        "classes": CLASSES,
        "outline_pixels": len(ContourPoints.of(truth).labels),
        "best_ms": round(1000 * min(seconds), 1),
        "median_ms": round(1000 * float(np.median(seconds)), 1),
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
