"""Temporal smoothing of a video's scores: a motion-compensated exponential average. No torch.

Each frame's scores are averaged with the previous ones, moved along with the picture. Motion is found by block
matching at the scores' resolution, a quarter of the picture's. Where the moved picture differs from the new one
(uncovered ground, a cut, a wrong match), the past counts less.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.errors import InputError
from refineseg.inference.tiles.blending import Map, Strip
from refineseg.inference.tiles.tiling import STRIDE
from refineseg.labels import UInt8

Plane = NDArray[np.float32]  # HxW
REACH = 3  # cells that a block may move at the coarsest level: 3 cells of 16 pixels
LEVELS = 3  # grids of cells of 4, 8 and 16 pixels
BLOCK = 2  # cells compared on each side of the centre
STAY = 0.25  # grey levels by which a move must lower a block's difference, so that flat ground stays
FLAT = 0.5  # least curvature, in grey levels, for fitting a fraction of a cell
DIFFERENCE = 10.0  # remaining difference, in grey levels, that cuts the past's share to 1/e
DEFAULT = 0.8


@dataclass
class Smoother:
    """Smooths the score maps of the frames of one video, in order."""

    strength: float = DEFAULT  # share of the past where motion explains the picture, from 0 (none) to below 1
    _grey: Plane | None = field(default=None, repr=False)
    _scores: tuple[Map, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.strength < 1:
            raise InputError(f"expected a smoothing of 0 up to below 1, such as {DEFAULT}, got {self.strength}")

    def __call__(self, strip: Strip, picture: UInt8) -> Strip:
        """The strip of a whole frame (``inference.tiles.blending``) with smoothed scores; the picture is HxWx3."""
        grey = cells_of(picture)
        maps = strip.maps
        if self._grey is not None and self._grey.shape == grey.shape:
            flow = motion(self._grey, grey)
            left = np.abs(grey - moved(self._grey[None], flow)[0])
            share = self.strength * np.exp(-((box_mean(left, 1) / DIFFERENCE) ** 2))
            maps = tuple(_averaged(old, new, flow, share) for old, new in zip(self._scores, maps, strict=True))
        self._grey, self._scores = grey, maps
        return replace(strip, maps=maps)


def _averaged(old: Map, new: Map, flow: NDArray[np.float32], share: Plane) -> Map:
    """Weighted mean of one view's past scores, moved along, and its present ones, 1xKxhxw."""
    height, width = new.shape[2:]
    if share.shape != (height, width):
        factors = np.array([height / share.shape[0], width / share.shape[1]], np.float32)
        flow = np.stack([_resized(plane, height, width) * by for plane, by in zip(flow, factors, strict=True)])
        share = _resized(share, height, width)
    past = moved(old[0], flow)
    return np.asarray(new + share * (past - new[0]), np.float32)


def cells_of(picture: UInt8) -> Plane:
    """Mean grey level of each 4x4 cell of HxWx3, ceil(H / 4) x ceil(W / 4)."""
    return _shrunk(picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32), STRIDE)


def motion(before: Plane, now: Plane) -> NDArray[np.float32]:
    """Motion 2xHxW (rows, columns) in cells, such that before[y + v, x + u] is now[y, x].

    Blocks of (2 BLOCK + 1)^2 cells are matched by mean absolute difference, from coarse to fine (each level halves
    the cells), then to a fraction of a cell by a parabola through the best difference and its neighbours.
    """
    pyramid = [(before, now)]
    while len(pyramid) < LEVELS and min(pyramid[-1][0].shape) >= 8:
        pyramid.append((_shrunk(pyramid[-1][0], 2), _shrunk(pyramid[-1][1], 2)))
    flow = np.zeros((2, *pyramid[-1][0].shape), np.int64)
    for level, (old, new) in enumerate(reversed(pyramid)):
        if level:
            flow = 2 * flow.repeat(2, 1).repeat(2, 2)
            flow = np.pad(flow, ((0, 0), *((0, max(0, new.shape[i] - flow.shape[i + 1])) for i in (0, 1))), "edge")
            flow = flow[:, : new.shape[0], : new.shape[1]]
        flow = _best(old, new, _median(flow) if level else flow, 1 if level else REACH)
    return _refined(before, now, flow)


def _best(old: Plane, new: Plane, start: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """The best whole shift within ``reach`` of ``start``."""
    best, lowest = start, np.full(new.shape, np.inf, np.float32)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            shift = start + np.array([dy, dx])[:, None, None]
            cost = _difference(old, new, shift) + STAY * np.abs(shift).sum(0).clip(0, 1)
            best = np.where(cost < lowest, shift, best)
            lowest = np.minimum(cost, lowest)
    return best


def _difference(old: Plane, new: Plane, shift: NDArray[np.int64]) -> Plane:
    """Mean absolute difference between each cell's block and its block at the former place, within the plane."""
    height, width = old.shape
    rows, columns = np.indices(old.shape)
    taken = old[np.clip(rows + shift[0], 0, height - 1), np.clip(columns + shift[1], 0, width - 1)]
    return box_mean(np.abs(taken - new), BLOCK)


def _median(flow: NDArray[np.int64]) -> NDArray[np.int64]:
    """Median of the 3x3 neighbours per axis, which removes isolated wrong matches."""
    height, width = flow.shape[1:]
    wide = np.pad(flow, ((0, 0), (1, 1), (1, 1)), mode="edge")
    parts = [wide[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.asarray(np.partition(np.stack(parts), 4, axis=0)[4])


def _refined(old: Plane, new: Plane, flow: NDArray[np.int64]) -> NDArray[np.float32]:
    """Whole shifts refined to fractions by a parabola's minimum along each axis, where that fits better.

    On still ground, where differences are uneven, the minimum is off.
    """
    exact = flow.astype(np.float32)
    middle = _difference(old, new, flow)
    for axis in (0, 1):
        step = np.zeros((2, 1, 1), np.int64)
        step[axis] = 1
        less, more = _difference(old, new, flow - step), _difference(old, new, flow + step)
        curve = np.maximum(less + more - 2 * middle, FLAT)
        exact[axis] += np.clip((less - more) / (2 * curve), -0.5, 0.5)
    better = box_mean(np.abs(moved(old[None], exact)[0] - new), BLOCK) + STAY < middle
    return np.where(better, exact, flow).astype(np.float32)


def moved(planes: NDArray[np.float32], flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes KxHxW sampled bilinearly at each cell's former place, clamped at the edge."""
    height, width = planes.shape[1:]
    rows, columns = np.indices((height, width), np.float32)
    y = np.clip(rows + flow[0], 0, height - 1)
    x = np.clip(columns + flow[1], 0, width - 1)
    top, left = np.minimum(y.astype(np.int64), height - 1), np.minimum(x.astype(np.int64), width - 1)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = y - top, x - left
    flat = planes.reshape(len(planes), -1)
    corners = [flat.take(index.ravel(), 1) for index in (top * width + left, top * width + right)]
    corners += [flat.take(index.ravel(), 1) for index in (below * width + left, below * width + right)]
    upper = corners[0] + across.ravel() * (corners[1] - corners[0])
    lower = corners[2] + across.ravel() * (corners[3] - corners[2])
    return np.asarray(upper + down.ravel() * (lower - upper), np.float32).reshape(planes.shape)


def box_mean(plane: Plane, radius: int) -> Plane:
    """Mean over (2 radius + 1)^2 neighbours; the edge is repeated."""
    for axis in (0, 1):
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius, radius)
        wide = np.pad(plane, pad, mode="edge")
        length = plane.shape[axis]
        parts = [wide[i : i + length] if axis == 0 else wide[:, i : i + length] for i in range(2 * radius + 1)]
        plane = np.asarray(sum(parts[1:], parts[0]) / np.float32(len(parts)), np.float32)
    return plane


def label_changes(before: UInt8, now: UInt8) -> float:
    """Share of pixels whose label changes between two frames, in [0, 1], by motion or by flicker."""
    return float((before != now).mean())


def _shrunk(plane: Plane, side: int) -> Plane:
    """Mean of each cell of ``side`` x ``side``; the edge is repeated."""
    padded = np.pad(plane, ((0, -plane.shape[0] % side), (0, -plane.shape[1] % side)), mode="edge")
    height, width = (length // side for length in padded.shape)
    return np.asarray(padded.reshape(height, side, width, side).mean((1, 3)), np.float32)


def _resized(plane: Plane, height: int, width: int) -> Plane:
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
