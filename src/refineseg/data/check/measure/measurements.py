"""Small records of pictures, masks and pairs, on which the rules work."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refineseg.data.check.listing import CheckedPair
from refineseg.data.check.measure.edges import Fit, Floats
from refineseg.labels import LabelMap
from refineseg.raw_values import raw_number

KEPT_VALUES = 256  # most frequent values kept of a mask


@dataclass(frozen=True)
class ImageMeasurement:
    """Measurements of a picture.

    Attributes:
        size: width and height, EXIF orientation applied.
        stored: width and height as stored.
        mode: Pillow's mode, such as ``RGB``; ``""`` if the data set has its own reader.
        orientation: EXIF orientation; 1 if there is none.
        digest: hash of the decoded pixels.
        thumb: 16x16 grey, uint8.
        phash: 64-bit perceptual hash.
        blank: whether all pixels have (nearly) one colour.
        largest: largest raw value of a 16-bit picture; 0 for others.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    mode: str
    orientation: int
    digest: bytes
    thumb: NDArray[np.uint8]
    phash: int
    blank: bool
    largest: int = 0


@dataclass(frozen=True)
class MaskMeasurement:
    """Measurements of a mask.

    Attributes:
        size: width and height.
        mode: Pillow's mode; ``""`` if the data set has its own reader.
        format: format of the file's content, such as ``PNG``.
        rgb: whether it holds colours, which are 24-bit numbers in ``values``.
        grey: whether all three channels of a colour mask are equal.
        values, counts: the KEPT_VALUES most frequent values and their numbers of pixels.
        distinct: number of different values.
        between: share of borders with an in-between value, as antialiasing leaves it; 0 to 1.
        thin: share of labelled pixels within two pixels of an ignored one; 0 to 1.
        palette: colours of ``values`` in the file's palette, Nx3, or None.
        digest: hash of the raw values.
    """

    size: tuple[int, int]
    mode: str
    format: str
    rgb: bool
    grey: bool
    values: NDArray[np.int64]
    counts: NDArray[np.int64]
    distinct: int
    between: float
    thin: float
    palette: NDArray[np.uint8] | None
    digest: bytes

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class PairMeasurement:
    """Measurements of a pair, or why its files could not be read."""

    pair: CheckedPair
    image: ImageMeasurement | None = None
    mask: MaskMeasurement | None = None
    image_error: str = ""
    mask_error: str = ""
    fit: Fit | None = None


@dataclass(frozen=True)
class Measurements:
    """Measurements of a data set.

    Attributes:
        pairs: one record per opened pair.
        surfaces: sum of the pairs' correlation surfaces, each in units of its noise.
        fitted: number of pairs in that sum.
        complete: whether every pair was opened.
        crop: height and width of the training crop, pixels.
    """

    pairs: tuple[PairMeasurement, ...]
    surfaces: Floats | None = field(default=None, repr=False)
    fitted: int = 0
    complete: bool = True
    crop: tuple[int, int] = (360, 480)


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
