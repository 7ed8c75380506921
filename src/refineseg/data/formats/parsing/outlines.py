"""Regions as simplified polygons for annotation tools: one ring per connected component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.formats.parsing.shapes import Region, skimage_package

Ring = list[list[float]]  # [x, y] corners, not closed
Points = NDArray[np.float64]


@dataclass
class Outliner:
    """Outlines regions and counts components and holes that are too small."""

    tolerance: float  # largest distance in pixels between a simplified ring and the outline
    smallest: int  # components and holes of fewer pixels are left out
    # number of components and holes left out so far, and of their pixels
    left_out: int = field(default=0, init=False)
    pixels: int = field(default=0, init=False)

    def rings(self, region: Region) -> Iterator[Ring]:
        """A ring around each 4-connected component of HxW, in continuous coordinates (pixel x covers x to x + 1).

        Holes are joined to the outside by a cut of zero width, since annotation tools have no holes.
        """
        measure = skimage_package("outlining regions").measure
        pieces = measure.label(region, connectivity=1)
        for piece in measure.regionprops(pieces):
            if piece.area < self.smallest:
                self._leave_out(int(piece.area))
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
            f"{self.left_out} pieces and holes of fewer than {self.smallest} pixels (total: {self.pixels} pixels) "
            "got no polygon",
        )

    def _leave_out(self, pixels: int) -> None:
        self.left_out += 1
        self.pixels += pixels

    def _without_small_holes(self, piece: Region, measure: Any) -> Region:
        filled = piece.copy()
        outside = np.pad(~piece, 1, constant_values=True)
        gaps = measure.label(outside, connectivity=2)
        for hole in measure.regionprops(gaps):
            if hole.area < self.smallest and hole.label != gaps[0, 0]:
                rows, columns = hole.coords.T - 1
                filled[rows, columns] = True
                self._leave_out(int(hole.area))
        return filled

    def _simplified(self, ring: Points, measure: Any) -> Points:
        closed = np.vstack([ring, ring[:1]])
        simple: Points = measure.approximate_polygon(closed, self.tolerance)[:-1]
        return simple if len(simple) >= 3 and abs(_area(simple)) > 0 else ring


def _area(ring: Points) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def _joined(outer: Points, hole: Points) -> Points:
    """One ring around the outside and the hole, connected at the nearest corners."""
    distances = ((outer[:, None] - hole[None]) ** 2).sum(axis=2)
    i, j = np.unravel_index(int(distances.argmin()), distances.shape)
    around = np.vstack([hole[j:], hole[: j + 1]])
    return np.vstack([outer[: i + 1], around, outer[i:]])
