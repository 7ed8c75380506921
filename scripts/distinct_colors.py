"""Makes the colours in refineseg/colors.py: python scripts/distinct_colors.py [--count 255].

Starts with the colours of Okabe and Ito (2008), black left out, and adds the colour that is farthest from all
before it: in OKLab (Ottosson, 2020), seen normally and as people without red or without green cones see it
(matrices of Machado, Oliveira and Fernandes, 2009). Very dark, very light and greyish colours are left out.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OKABE_ITO = [
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
]
NO_RED = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
NO_GREEN = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
BLIND_WEIGHT = 1.5  # how much a distance counts that people without one kind of cones see


def linear(colors: Floats) -> Floats:
    """sRGB 0..255 to linear light 0..1."""
    unit = colors / 255
    return np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)


def oklab(light: Floats) -> Floats:
    """Linear sRGB Nx3 to OKLab Nx3."""
    return np.asarray(np.cbrt(np.clip(light, 0, None) @ TO_CONES.T) @ TO_LAB.T)


def views(colors: Floats) -> list[Floats]:
    """OKLab of sRGB colours Nx3 as seen normally, without red and without green cones."""
    light = linear(colors)
    return [oklab(np.clip(light @ matrix.T, 0, 1)) for matrix in (np.eye(3), NO_RED, NO_GREEN)]


def distinct(count: int) -> list[tuple[int, int, int]]:
    """The colours, in order."""
    steps = np.r_[np.arange(0, 256, 12), 255]
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3).astype(np.float64)
    seen = views(grid)[0]
    chroma = np.hypot(seen[:, 1], seen[:, 2])
    grid = grid[(seen[:, 0] > 0.38) & (seen[:, 0] < 0.93) & (chroma > 0.07)]
    candidates = views(grid)
    chosen = [np.array(color, np.float64) for color in OKABE_ITO]
    nearest = np.full(len(grid), np.inf)

    def add(color: Floats) -> None:
        weights = (1.0, BLIND_WEIGHT, BLIND_WEIGHT)
        own = views(color[None])
        gaps = [w * np.linalg.norm(c - o, axis=1) for w, c, o in zip(weights, candidates, own, strict=True)]
        # 255 colours that everybody tells apart do not exist, so half of the normal distance counts.
        np.minimum(nearest, 0.5 * gaps[0] + 0.5 * np.min(gaps, axis=0), out=nearest)

    for color in [np.zeros(3), *chosen]:
        add(color)
    while len(chosen) < count:
        chosen.append(grid[int(nearest.argmax())])
        add(chosen[-1])
    return [(int(red), int(green), int(blue)) for red, green, blue in chosen[:count]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=255)
    words = ["{:02x}{:02x}{:02x}".format(*color) for color in distinct(parser.parse_args().count)]
    for start in range(0, len(words), 15):
        print(" ".join(words[start : start + 15]))
