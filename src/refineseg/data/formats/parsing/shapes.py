"""Shapes to regions of pixels, and regions to polygons: one ring per connected component.

Coordinates are continuous: pixel x covers x .. x + 1, and its centre decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.formats.format import Shape
from refineseg.errors import InputError, extra
from refineseg.system.text import counted

Points = Sequence[tuple[float, float]]
Region = NDArray[np.bool_]
Ring = list[list[float]]  # [x, y] corners, not closed
Corners = NDArray[np.float64]


def polygon(points: Points, shape: Shape) -> Region:
    """HxW, true inside the polygon of (x, y) and on its outline; clipped to the picture.

    Every crossing of an edge and a row of pixel centres toggles the pixels to its right (even-odd), so that the
    time does not grow with pixels times corners.
    """
    height, width = shape
    starts = np.asarray(points, np.float64) - 0.5
    ends = np.roll(starts, -1, axis=0)
    low, high = np.minimum(starts[:, 1], ends[:, 1]), np.maximum(starts[:, 1], ends[:, 1])
    first, last = np.ceil(np.clip(low, 0, height)), np.floor(np.clip(high, -1, height - 1))
    counts = np.maximum(last - first + 1, 0).astype(np.int64)
    edges = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(len(edges)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges].astype(np.int64)
    region = np.zeros(shape, np.bool_)
    if not len(rows):
        return region
    (x0, y0), (x1, y1) = starts[edges].T, ends[edges].T
    level = y0 == y1
    columns = np.where(level, x0, x0 + (rows - y0) * (x1 - x0) / np.where(level, 1, y1 - y0))
    right = np.ceil(np.clip(columns, 0, width)).astype(np.int64)
    crosses = ~level & (rows < high[edges]) & (right < right.max())
    np.logical_xor.at(region, (rows[crosses], right[crosses]), True)
    inside = region[rows.min() : rows.max() + 1, right.min() : right.max()]
    np.logical_xor.accumulate(inside, axis=1, out=inside)
    on_outline = ~level & (columns == right) & (right < width)
    region[rows[on_outline], right[on_outline]] = True
    for row, left, end in zip(rows[level], np.minimum(x0, x1)[level], np.maximum(x0, x1)[level], strict=True):
        region[row, max(math.ceil(left), 0) : max(math.floor(end) + 1, 0)] = True
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
        draw = skimage_package("rasterising ellipses").draw
        region[draw.ellipse(*place, radii[1], radii[0], shape=shape, rotation=turned)] = True
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
            f"{place}: expected runs of {counted(shape[0] * shape[1], 'pixel')}, got {total}; is it cut off?"
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


@dataclass
class Outliner:
    """Outlines regions and counts components and holes that are too small."""

    tolerance: float  # largest distance in pixels between a simplified ring and the outline
    smallest: int  # components and holes of fewer pixels are left out
    left_out: list[int] = field(default_factory=list, init=False)  # pixels of those left out so far

    def rings(self, region: Region) -> Iterator[Ring]:
        """A ring around each 4-connected component of HxW, in continuous coordinates (pixel x covers x to x + 1).

        Holes are joined to the outside by a cut of zero width, since annotation tools have no holes.
        """
        measure = skimage_package("outlining regions").measure
        pieces = measure.label(region, connectivity=1)
        for piece in measure.regionprops(pieces):
            if piece.area < self.smallest:
                self.left_out.append(int(piece.area))
                continue
            crop = np.pad(self._without_small_holes(piece.image, measure), 1)
            contours = measure.find_contours(crop.astype(np.float64), 0.5, fully_connected="low")
            top, left = piece.bbox[:2]
            shift = np.array([left - 0.5, top - 0.5])  # padding of one pixel, and pixel centres
            outer, *holes = sorted((contour[:-1, ::-1] + shift for contour in contours), key=_area, reverse=True)
            ring = self._simplified(outer, measure)
            for hole in holes:
                ring = _joined(ring, self._simplified(hole, measure))
            yield np.round(ring, 2).tolist()

    def notes(self) -> tuple[str, ...]:
        """A note on what was too small."""
        if not self.left_out:
            return ()
        return (
            f"no polygon for {counted(self.left_out, 'piece or hole', 'pieces and holes')} of fewer than "
            f"{self.smallest} pixels (total: {counted(sum(self.left_out), 'pixel')})",
        )

    def _without_small_holes(self, piece: Region, measure: Any) -> Region:
        filled = piece.copy()
        outside = np.pad(~piece, 1, constant_values=True)
        gaps = measure.label(outside, connectivity=2)
        for hole in measure.regionprops(gaps):
            if hole.area < self.smallest and hole.label != gaps[0, 0]:
                rows, columns = hole.coords.T - 1
                filled[rows, columns] = True
                self.left_out.append(int(hole.area))
        return filled

    def _simplified(self, ring: Corners, measure: Any) -> Corners:
        closed = np.vstack([ring, ring[:1]])
        simple: Corners = measure.approximate_polygon(closed, self.tolerance)[:-1]
        return simple if len(simple) >= 3 and _area(simple) > 0 else ring


def _area(ring: Corners) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def _joined(outer: Corners, hole: Corners) -> Corners:
    """One ring around the outside and the hole, connected at the nearest corners."""
    distances = ((outer[:, None] - hole[None]) ** 2).sum(axis=2)
    i, j = np.unravel_index(int(distances.argmin()), distances.shape)
    around = np.vstack([hole[j:], hole[: j + 1]])
    return np.vstack([outer[: i + 1], around, outer[i:]])


def skimage_package(purpose: str) -> Any:
    """The optional package scikit-image; imported nowhere else."""
    with extra("scikit-image", "data", purpose):
        import skimage
        import skimage.draw
        import skimage.measure
    return skimage
