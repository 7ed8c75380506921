"""Small records of pictures, masks and pairs, on which the rules work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refineseg.data.check.dataset_files import CheckedPair
from refineseg.data.check.measurements.edges import Floats, OutlineFit
from refineseg.labels import LabelMap
from refineseg.raw_values import raw_number

KEPT_VALUES = 256  # most frequent values kept of a mask


@dataclass(frozen=True)
class ImageMeasurement:
    """Measurements of a picture."""

    size: tuple[int, int]  # width and height, EXIF orientation applied
    mode: str  # Pillow's mode, such as ``RGB``; ``""`` if the data set has its own reader
    orientation: int  # EXIF orientation; 1 if there is none
    digest: bytes  # hash of the decoded pixels
    thumb: NDArray[np.uint8]  # 16x16 grey, uint8
    phash: int  # 64-bit perceptual hash
    blank: bool  # whether all pixels have (nearly) one colour
    largest: int = 0  # largest raw value of a 16-bit picture; 0 for others
    notes: tuple[str, ...] = ()  # what reading left out or assumed, except about 16-bit values


@dataclass(frozen=True)
class MaskMeasurement:
    """Measurements of a mask."""

    size: tuple[int, int]  # width and height
    format: str  # format of the file's content, such as ``PNG``; ``""`` if the data set has its own reader
    rgb: bool  # whether it holds colours, which are 24-bit numbers in ``values``
    grey: bool  # whether all three channels of a colour mask are equal
    # the KEPT_VALUES most frequent values and their numbers of pixels
    values: NDArray[np.int64]
    counts: NDArray[np.int64]
    distinct: int  # number of different values
    smoothed_share: float  # share of borders with an in-between value, as antialiasing leaves it; 0 to 1
    thin: float  # share of labelled pixels within two pixels of an ignored one; 0 to 1
    palette: NDArray[np.uint8] | None  # colours of ``values`` in the file's palette, Nx3, or None
    digest: bytes  # hash of the raw values

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.size[0] * self.size[1]

    @property
    def by_value(self) -> dict[int, int]:
        """Number of pixels of each value."""
        return dict(zip(self.values.tolist(), self.counts.tolist(), strict=True))


@dataclass(frozen=True)
class PairMeasurement:
    """Measurements of a pair, or why its files could not be read."""

    pair: CheckedPair
    image: ImageMeasurement | None = None
    mask: MaskMeasurement | None = None
    image_error: str = ""
    mask_error: str = ""
    fit: OutlineFit | None = None


@dataclass(frozen=True)
class Measurements:
    """Measurements of a data set."""

    pairs: tuple[PairMeasurement, ...]  # one record per opened pair
    # sum of the pairs' correlation surfaces, each in units of its noise
    surfaces: Floats | None = field(default=None, repr=False)
    fitted: int = 0  # number of pairs in that sum
    complete: bool = True  # whether every pair was opened
    crop: tuple[int, int] = (360, 480)  # height and width of the training crop, pixels


def with_image(pairs: Iterable[PairMeasurement]) -> list[tuple[PairMeasurement, ImageMeasurement]]:
    """Pairs whose picture could be read."""
    return [(item, item.image) for item in pairs if item.image is not None]


def with_mask(pairs: Iterable[PairMeasurement]) -> list[tuple[PairMeasurement, MaskMeasurement]]:
    """Pairs whose mask could be read."""
    return [(item, item.mask) for item in pairs if item.mask is not None]


def class_values(label_map: LabelMap) -> dict[int, int]:
    """Train id by raw value."""
    return {raw_number(value): index for index, item in enumerate(label_map.classes) for value in item.raw}


def ignored_values(label_map: LabelMap) -> set[int]:
    """Raw values that are ignored."""
    return {raw_number(value) for value in label_map.ignore}
