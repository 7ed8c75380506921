"""Summary of the data for a plan: sizes, classes, thickness of regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refineseg.data.dataset import SegmentationData, evenly_spaced
from refineseg.labels import IGNORE, UInt8

LOOKED_AT = 64  # masks, evenly spaced over train: read in seconds, and enough for shares and sizes
FEWEST = 0.0005  # share of the labelled pixels below which the thickness of a class is unknown


@dataclass(frozen=True)
class DataSummary:
    """Summary of a data set."""

    # number of pictures
    train: int
    val: int
    size: tuple[int, int]  # median height and width, in pixels
    names: tuple[str, ...]  # class names
    shares: NDArray[np.float64]  # share of the labelled pixels, by class
    shown_by: NDArray[np.float64]  # share of the pictures with a class
    # typical width of a class's regions in pixels: twice their area over their outline; NaN for absent or rare
    # classes
    thickness: NDArray[np.float64]
    rgb: bool  # whether pictures are 8-bit RGB

    @property
    def thinnest(self) -> tuple[str, float]:
        """Name and thickness of the thinnest class; the height of a picture if none is known."""
        if np.isnan(self.thickness).all():
            return "everything", float(self.size[0])
        index = int(np.nanargmin(self.thickness))
        return self.names[index], float(self.thickness[index])


def measure_data(data: SegmentationData) -> DataSummary:
    """Measure up to 64 training samples. InputError or LabelError for one that cannot be read."""
    samples = data.split("train")
    looked_at = evenly_spaced(samples, LOOKED_AT)
    count = data.label_map.num_classes
    pixels, outlines = np.zeros(count), np.zeros(count)
    shown, sizes = np.zeros(count), []
    for sample in looked_at:
        _, labels = data.read(sample)
        sizes.append(labels.shape)
        here = np.bincount(labels.ravel(), minlength=IGNORE + 1)[:count]
        pixels += here
        shown += here > 0
        outlines += outline_lengths(labels, count)
    height, width = np.median(np.array(sizes), axis=0)
    shares = pixels / max(1.0, pixels.sum())
    known = (shares >= FEWEST) & (outlines > 0)
    thickness = np.where(known, 2 * pixels / np.maximum(outlines, 1), np.nan)
    return DataSummary(
        len(samples),
        len(data.split("val")),
        (int(height), int(width)),
        tuple(data.label_map.names),
        shares,
        shown / len(looked_at),
        thickness,
        data.channels is None,
    )


def outline_lengths(labels: UInt8, classes: int) -> NDArray[np.float64]:
    """Length of every class's outline in pixel sides, without the border of the picture and of void."""
    lengths = np.zeros(IGNORE + 1)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        edge = (one != other) & (one != IGNORE) & (other != IGNORE)
        for side in (one, other):
            lengths += np.bincount(side[edge], minlength=IGNORE + 1)
    return lengths[:classes]
