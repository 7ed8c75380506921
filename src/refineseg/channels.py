"""Channels: pictures that are more than 8-bit RGB, and the one owner of how their raw values become [0, 1].

An RGB picture is HxWx3 uint8 and its values are divided by 255; it has no Channels. Any other (GeoTIFF,
microscopy ...) is HxWxC of the file's own type, and is converted only for the network and for display.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.config.settings import Config
from refineseg.errors import ConfigError, InputError
from refineseg.labels import UInt8
from refineseg.system.text import counted

Pixels = NDArray[Any]  # HxWx3 uint8 RGB, or HxWxC raw values of a picture with channels
STRETCH = 2.0  # standard deviations on either side of the mean that a false-colour picture shows


@dataclass(frozen=True)
class Channels(Config):
    """The channels of a data set's pictures, of which a model trained on it keeps a copy."""

    dtype: str  # type of the raw values, such as ``uint16``
    # raw values that mean 0 and 1, by channel; nothing is clipped
    low: tuple[float, ...]
    high: tuple[float, ...]
    # by channel, of the training pictures' values in [0, 1]; networks are normalised with them
    mean: tuple[float, ...]
    std: tuple[float, ...]
    # channels, counted from 0, to be shown as red, green and blue
    shown: tuple[int, int, int]

    def __post_init__(self) -> None:
        lengths = {len(self.low), len(self.high), len(self.mean), len(self.std)}
        if len(lengths) != 1 or not self.low:
            raise ConfigError(f"expected low, high, mean and std for each channel, got lists of {sorted(lengths)}")
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise ConfigError(f"expected low below high in every channel, got {self.low} and {self.high}")
        if not all(value > 0 for value in self.std):
            raise ConfigError(f"expected std above 0 in every channel, got {self.std}")
        if not all(0 <= channel < self.count for channel in self.shown):
            raise ConfigError(f"expected shown channels in 0..{self.count - 1}, got {self.shown}")

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(self.low)

    def check(self, pixels: Pixels, source: str) -> None:
        """InputError unless the pixels are HxWxC of these channels and this type.

        Whole numbers that lack data somewhere come as floats with NaN there.
        """
        lacking = pixels.dtype.kind == "f" and bool(np.isnan(pixels).any())
        if pixels.ndim != 3 or pixels.shape[2] != self.count or not (pixels.dtype.name == self.dtype or lacking):
            raise InputError(
                f"{source}: expected {counted(self.count, 'channel')} of {self.dtype}, HxWx{self.count}, "
                f"got {pixels.dtype.name} of shape {pixels.shape}"
            )
        if not pixels.size:
            raise InputError(f"{source}: expected at least 1x1 pixel, got shape {pixels.shape}")

    def check_kind(self, count: int, dtype: np.dtype[Any], source: str) -> None:
        """InputError unless a file has as many channels, of this type."""
        if count != self.count or dtype.name != self.dtype:
            raise InputError(
                f"{source}: expected {counted(self.count, 'channel')} of {self.dtype}, got {count} of {dtype.name}"
            )

    def to_unit(self, pixels: Pixels) -> NDArray[np.float32]:
        """Raw values HxWxC to float32, ``low`` to 0 and ``high`` to 1; the mean where there is no number (NaN)."""
        exact = np.result_type(pixels, np.float32)  # 32-bit integers have more digits than float32
        low, high = np.array(self.low, exact), np.array(self.high, exact)
        unit = np.asarray((pixels - low) / (high - low), np.float32)
        if pixels.dtype.kind == "f":
            unit = np.where(np.isfinite(unit), unit, np.array(self.mean, np.float32))
        return unit

    def false_color(self, pixels: Pixels) -> UInt8:
        """Raw values HxWxC as HxWx3 RGB: the shown channels, mean less to mean plus STRETCH deviations.

        The stretch is that of the data set, so that pictures and windows of one picture look alike.
        """
        chosen = list(self.shown)
        mean, std = np.array(self.mean, np.float32)[chosen], np.array(self.std, np.float32)[chosen]
        unit = self.to_unit(pixels)[..., chosen]
        return np.asarray(np.clip(((unit - mean) / (2 * STRETCH * std) + 0.5) * 255 + 0.5, 0, 255), np.uint8)


def display_rgb(pixels: Pixels, channels: Channels | None) -> UInt8:
    """A picture as RGB HxWx3: as it is, or in false colours where it has channels."""
    return pixels if channels is None else channels.false_color(pixels)
