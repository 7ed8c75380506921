"""How well the borders of a mask match the edges of its picture, at a small working size.

``correlation_surface`` is the cross-correlation of mask borders with the picture's normalised gradient: its value
at an offset is the mean gradient (in standard deviations) under the borders when the mask is moved by that offset.
A mask that fits has its peak at offset 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORK = 256  # longer side of the working size, pixels
REACH = 28  # largest offset tested, working pixels
NEAR = 2  # offsets that count as no shift
CORE = 6  # radius of the peak
MIN_BORDER = 120  # fewer border pixels are not judged

Floats = NDArray[np.float32]
Border = NDArray[np.bool_]
TURNS: dict[str, Callable[[Border], Border]] = {
    "left-right": lambda mask: mask[:, ::-1],
    "upside-down": lambda mask: mask[::-1],
    "by 180 degrees": lambda mask: mask[::-1, ::-1],
    "by 90 degrees": lambda mask: np.rot90(mask),
    "by 270 degrees": lambda mask: np.rot90(mask, 3),
    "transposed": lambda mask: mask.T,
}


@dataclass(frozen=True)
class OutlineFit:
    """Match of a mask's borders with its picture's edges; scores are mean gradients in standard deviations."""

    here: float  # best score within NEAR pixels of offset 0
    peak: float  # best score within REACH
    offset: tuple[int, int]  # shift (down, right) of the mask to the peak, in pixels of the picture
    rival: float  # best score more than CORE pixels away from the peak
    noise: float  # standard deviation of the surface outside the peak
    # mean score of the mask as it is and flipped or rotated in each way that keeps its size
    turns: dict[str, float]


def working_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the working size; pictures are never enlarged."""
    scale = min(1.0, WORK / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def gradient(grey: NDArray[np.uint8]) -> Floats:
    """Gradient magnitude HxW of a grey picture, clipped at its 90th percentile, zero mean, unit deviation."""
    values = grey.astype(np.float32)
    down, right = np.zeros_like(values), np.zeros_like(values)
    down[1:-1] = values[2:] - values[:-2]
    right[:, 1:-1] = values[:, 2:] - values[:, :-2]
    size = np.hypot(down, right)
    size = np.minimum(size, np.percentile(size, 90))
    deviation = float(size.std())
    if deviation < 0.5:  # a nearly blank picture has no edges
        return np.zeros_like(size)
    return np.asarray((size - size.mean()) / deviation, np.float32)


def class_borders(mask: NDArray[Any]) -> NDArray[np.bool_]:
    """Pixels on either side of a change of value, without the rim of the picture."""
    edge = np.zeros(mask.shape, np.bool_)
    across, along = mask[:, :-1] != mask[:, 1:], mask[:-1] != mask[1:]
    edge[:, :-1] |= across
    edge[:, 1:] |= across
    edge[:-1] |= along
    edge[1:] |= along
    edge[:2] = edge[-2:] = False
    edge[:, :2] = edge[:, -2:] = False
    return edge


def correlation_surface(edges: Floats, border: NDArray[np.bool_]) -> Floats:
    """Mean of ``edges`` under the shifted border: (2 REACH + 1) squared, rows by shift down, columns right."""
    height, width = edges.shape
    shape = (height + REACH, width + REACH)
    product = np.conj(np.fft.rfft2(border.astype(np.float32), shape)) * np.fft.rfft2(edges, shape)
    whole = np.fft.irfft2(product, shape) / max(int(border.sum()), 1)
    rows, columns = np.arange(-REACH, REACH + 1) % shape[0], np.arange(-REACH, REACH + 1) % shape[1]
    return np.asarray(whole[np.ix_(rows, columns)], np.float32)


def peak_of(scores: Floats) -> tuple[int, int]:
    """Offset (down, right) of the best score."""
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(row) - REACH, int(column) - REACH


def around(offset: tuple[int, int], radius: int) -> NDArray[np.bool_]:
    """Offsets within ``radius`` (Chebyshev distance) of one."""
    places = np.arange(-REACH, REACH + 1)
    near_rows, near_columns = abs(places - offset[0]) <= radius, abs(places - offset[1]) <= radius
    return np.asarray(near_rows[:, None] & near_columns[None, :])


def fit_outlines(edges: Floats, mask: NDArray[Any], scale: float) -> tuple[OutlineFit, Floats] | None:
    """Fit of a mask to the edges of a picture (HxW as from ``gradient``), and its surface.

    ``mask`` has raw values HxW at the working size, of ``scale`` working pixels per pixel of the picture. None
    if there is too little border or no edge.
    """
    border = class_borders(mask)
    if int(border.sum()) < MIN_BORDER or not edges.any() or min(edges.shape) <= 2 * REACH:
        return None
    scores = correlation_surface(edges, border)
    offset = peak_of(scores)
    outside = ~around(offset, CORE)
    wide = _blurred_best(edges)
    turned = {
        name: float(wide[turn(border)].mean())
        for name, turn in TURNS.items()
        if turn(border).shape == border.shape
    }
    found = OutlineFit(
        here=float(scores[around((0, 0), NEAR)].max()),
        peak=float(scores.max()),
        offset=(round(offset[0] / scale), round(offset[1] / scale)),
        rival=float(scores[outside].max()),
        noise=float(scores[outside].std()),
        turns={"as it is": float(wide[border].mean())} | turned,
    )
    return found, scores


def _blurred_best(edges: Floats) -> Floats:
    """Mean over 3x3, which tolerates an offset of one pixel."""
    padded = np.pad(edges, 1)
    height, width = edges.shape
    total = np.zeros_like(edges)
    for row in range(3):
        for column in range(3):
            total += padded[row : row + height, column : column + width]
    return np.asarray(total / 9, np.float32)
