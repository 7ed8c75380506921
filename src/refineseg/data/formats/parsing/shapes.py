"""Rasterised shapes, in continuous coordinates: pixel x covers x .. x + 1, and its centre decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.formats.format import Shape
from refineseg.errors import InputError, extra

Points = Sequence[tuple[float, float]]
Region = NDArray[np.bool_]


def polygon(points: Points, shape: Shape) -> Region:
    """HxW, true inside the polygon of (x, y); clipped to the picture."""
    rows = np.array([y for _, y in points]) - 0.5
    columns = np.array([x for x, _ in points]) - 0.5
    region = np.zeros(shape, np.bool_)
    region[_draw().polygon(rows, columns, shape)] = True
    return region


def box(left: float, top: float, right: float, bottom: float, shape: Shape, degrees: float = 0.0) -> Region:
    """HxW, true inside a box, rotated clockwise about its centre."""
    centre = ((left + right) / 2, (top + bottom) / 2)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return polygon([turn(corner, centre, degrees) for corner in corners], shape)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], shape: Shape, degrees: float = 0.0) -> Region:
    """HxW, true inside an ellipse with radii along x and y, rotated clockwise."""
    region = np.zeros(shape, np.bool_)
    if min(radii) > 0:
        place = (centre[1] - 0.5, centre[0] - 0.5)
        turned = math.radians(-degrees)
        region[_draw().ellipse(*place, radii[1], radii[0], shape=shape, rotation=turned)] = True
    return region


def turn(point: tuple[float, float], centre: tuple[float, float], degrees: float) -> tuple[float, float]:
    """A point rotated clockwise (y points down) about another."""
    angle = math.radians(degrees)
    x, y = point[0] - centre[0], point[1] - centre[1]
    return (
        centre[0] + x * math.cos(angle) - y * math.sin(angle),
        centre[1] + x * math.sin(angle) + y * math.cos(angle),
    )


def paste(crop: Region, left: int, top: int, shape: Shape, place: str) -> Region:
    """HxW with a smaller mask at (left, top), clipped to the picture. InputError if it lies outside."""
    rows = slice(max(top, 0), min(top + crop.shape[0], shape[0]))
    columns = slice(max(left, 0), min(left + crop.shape[1], shape[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise InputError(
            f"{place}: expected a mask inside the picture {shape[1]}x{shape[0]}, "
            f"got {crop.shape[1]}x{crop.shape[0]} at {left},{top}"
        )
    region = np.zeros(shape, np.bool_)
    region[rows, columns] = crop[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return region


def runs_to_region(runs: Sequence[int], shape: Shape, place: str, order: str = "C") -> Region:
    """Run lengths, zeros first, as HxW in row ("C") or column order ("F"). InputError if they do not fill it."""
    total = sum(runs)
    if total != shape[0] * shape[1] or any(run < 0 for run in runs):
        raise InputError(
            f"{place}: expected runs that add up to {shape[0] * shape[1]} pixels, got {total}; is it cut off?"
        )
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(values.reshape(shape[::-1]).T if order == "F" else values.reshape(shape))


def region_to_runs(region: Region) -> list[int]:
    """HxW as run lengths in row order, zeros first; the inverse of ``runs_to_region``."""
    flat = np.concatenate([[False], region.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(run) for run in np.diff(np.concatenate([[0], changes, [region.size]]))]


def bounds(region: Region) -> tuple[int, int, int, int]:
    """Left, top, right and bottom (exclusive) of the true pixels; there must be one."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _draw() -> Any:
    return skimage_package("rasterising polygons").draw


def skimage_package(purpose: str) -> Any:
    """The optional package scikit-image; imported nowhere else."""
    with extra("scikit-image", "data", purpose):
        import skimage
        import skimage.draw
        import skimage.measure
    return skimage
