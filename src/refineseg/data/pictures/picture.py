"""The interface of an opened picture: windows of pixels, pixels without data, notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Channels, Pixels
from refineseg.data.pictures.geotiff import Geo
from refineseg.data.pictures.raster import Raster

ChannelSelection = Channels | Literal["any"] | None  # raw values of a model's channels or of any; None: RGB
Void = NDArray[np.bool_]  # HxW, true without data


class Picture(Protocol):
    """A picture that can be read by windows."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""

    @property
    def geo(self) -> Geo:
        """Georeference, empty for most."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed or left out, a sentence each."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values as stored."""

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """A window: HxWx3 uint8 RGB, or HxWxC raw values with NaN for no-data."""

    def void(self, top: int, bottom: int, left: int, right: int) -> Void | None:
        """Pixels of a window without data in any channel, HxW; None if there are none."""


@dataclass(frozen=True)
class InMemory:
    """A decoded picture, HxWxC."""

    pixels: Pixels
    geo: Geo = field(default_factory=Geo)
    notes: tuple[str, ...] = ()
    no_data: Void | None = None
    stored: np.dtype[Any] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """See ``Picture``."""
        return self.pixels.dtype if self.stored is None else self.stored

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.pixels.shape[0], self.pixels.shape[1])

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """See ``Picture``."""
        return self.pixels[top:bottom, left:right]

    def void(self, top: int, bottom: int, left: int, right: int) -> Void | None:
        """See ``Picture``."""
        if self.no_data is not None:
            return self.no_data[top:bottom, left:right]
        return void_of(self.read(top, bottom, left, right))


@dataclass(frozen=True)
class OnDisk:
    """A decoded picture in a temporary file, HxWx3 uint8."""

    raster: Raster
    notes: tuple[str, ...] = ()
    geo: Geo = field(default_factory=Geo)
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.raster.size

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """See ``Picture``."""
        return self.raster.read(top, bottom, left, right)

    def void(self, *_: int) -> None:
        """None: formats other than TIFF have data everywhere."""


def void_of(pixels: Pixels) -> Void | None:
    """Pixels of raw values HxWxC without a number in any channel, HxW; None if there are none."""
    if pixels.dtype.kind != "f":
        return None
    void = np.asarray(~np.isfinite(pixels).any(-1))
    return void if void.any() else None


def with_nan(pixels: Pixels, missing: Void) -> Pixels:
    """Raw values with NaN for missing ones; integers keep their type if none is missing."""
    if not missing.any():
        return pixels
    exact = pixels.dtype if pixels.dtype.kind == "f" else np.result_type(pixels, np.float32)
    return np.where(missing, exact.type(np.nan), pixels.astype(exact))


def upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """HxW or HxWxC as stored, rotated by the EXIF orientation (1 to 8)."""
    if orientation > 4:
        array = array.swapaxes(0, 1)
    down = orientation in (3, 4, 7, 8)
    across = orientation in (2, 3, 6, 7)
    return np.ascontiguousarray(array[:: -1 if down else 1, :: -1 if across else 1])
