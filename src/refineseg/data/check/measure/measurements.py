"""What is kept of each file after it was looked at: small records, whatever the size of the picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from refineseg.data.check.listing import CheckedPair
from refineseg.data.check.measure.edges import Fit, Floats
from refineseg.labels import LabelMap
from refineseg.raw_values import raw_number

KEPT_VALUES = 256  # different values of one mask that are kept, the most frequent ones


@dataclass(frozen=True)
class ImageMeasurement:
    """One picture.

    Attributes:
        size: width and height as training sees it, EXIF orientation applied.
        stored: width and height as stored.
        mode: Pillow's, such as ``RGB``; ``""`` where the data set reads its pictures in its own way.
        orientation: EXIF orientation, 1 where there is none.
        digest: hash of the decoded pixels.
        thumb: 16x16 grey, uint8.
        phash: 64-bit perceptual hash.
        blank: whether all pixels are (nearly) of one colour.
        largest: largest raw value of a picture of 16 bits; 0 of others.
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
    """One mask.

    Attributes:
        size: width and height.
        mode: Pillow's; ``""`` where the data set reads its masks in its own way.
        format: format of the file's content, such as ``PNG``, whatever its name says.
        rgb: whether it holds colours; they count as 24-bit numbers in ``values``.
        grey: a colour mask whose three channels are equal everywhere.
        values, counts: the KEPT_VALUES most frequent values and their pixels.
        distinct: number of different values.
        between: among places where the value changes, the share with an in-between value
            on the border, as smoothing leaves it; 0 to 1.
        thin: share of labelled pixels that have an ignored pixel next to or next but one to them; 0 to 1.
        palette: colours of ``values`` in the file's own palette, Nx3, or None.
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
    """One pair: what was seen of each file, or why it could not be read."""

    pair: CheckedPair
    image: ImageMeasurement | None = None
    mask: MaskMeasurement | None = None
    image_error: str = ""
    mask_error: str = ""
    fit: Fit | None = None


@dataclass(frozen=True)
class Measurements:
    """Everything that the rules look at.

    Attributes:
        pairs: one record per pair that was opened.
        surfaces: sum of the pairs' fit surfaces by relative offset, in units of their noise.
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
    """The pairs whose picture could be read."""
    return [(item, item.image) for item in pairs if item.image is not None]


def with_mask(pairs: Iterable[PairMeasurement]) -> list[tuple[PairMeasurement, MaskMeasurement]]:
    """The pairs whose mask could be read."""
    return [(item, item.mask) for item in pairs if item.mask is not None]


def class_values(label_map: LabelMap) -> dict[int, int]:
    """Train id by raw value."""
    return {raw_number(value): index for index, item in enumerate(label_map.classes) for value in item.raw}


def ignored_values(label_map: LabelMap) -> set[int]:
    """The raw values that do not count."""
    return {raw_number(value) for value in label_map.ignore}
