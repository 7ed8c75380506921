"""The depth of a picture, as predicted: values, 16-bit levels, colours. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.inference.outputs import find_kinds, write_file
from refineseg.labels import UInt8

LEVELS = 65535  # of a 16-bit PNG
MILLIMETRES = 1000  # in a metre
# Corners of the colours from far to near: dark blue, violet, orange, light yellow.
COLOURS = np.array([[13, 8, 60], [120, 28, 109], [237, 105, 37], [252, 255, 164]], np.float32)
Unit = Literal["relative", "metres"]


@dataclass(frozen=True)
class Depth:
    """The depth of one picture."""

    # HxW float32, at least 0: metres, or inverse depth of unknown scale (larger is nearer)
    values: NDArray[np.float32]
    unit: Unit  # ``metres`` or ``relative``
    image: UInt8  # the picture, HxWx3 uint8 RGB
    name: str = "image"  # stem of the files that ``save`` writes
    notes: tuple[str, ...] = ()  # what was assumed or left out when the picture was read, a sentence each

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def summary(self) -> dict[str, Any]:
        """Part of predictions.json: unit, smallest and largest value, and how to read the 16-bit PNG."""
        low, high = float(self.values.min()), float(self.values.max())
        step = 1 / MILLIMETRES if self.unit == "metres" else (high - low) / LEVELS
        return {"depth": {"unit": self.unit, "low": low, "high": high, "png_zero": self._zero(), "png_step": step}}

    def _zero(self) -> float:
        return 0.0 if self.unit == "metres" else float(self.values.min())

    def levels(self) -> NDArray[np.uint16]:
        """HxW for a 16-bit PNG: millimetres (up to 65.535 m), or the smallest to largest value as 0 to 65535."""
        if self.unit == "metres":
            scaled = self.values * np.float32(MILLIMETRES)
        else:
            spread = max(float(np.ptp(self.values)), 1e-12)
            scaled = (self.values - self._zero()) * np.float32(LEVELS / spread)
        return np.asarray(np.clip(np.rint(scaled), 0, LEVELS), np.uint16)

    def picture(self) -> Image.Image:
        """The depth in colour, from dark (farthest) to light (nearest)."""
        spread = max(float(np.ptp(self.values)), 1e-12)
        near = (self.values - self.values.min()) / np.float32(spread)
        near = 1 - near if self.unit == "metres" else near
        stops = np.linspace(0, 1, len(COLOURS))
        planes = [np.interp(near, stops, COLOURS[:, channel]) for channel in range(3)]
        return Image.fromarray(np.rint(np.stack(planes, -1)).astype(np.uint8))

    def save(
        self, folder: str | Path, save: tuple[str, ...] = ("depth", "depth-picture"), name: str | None = None
    ) -> dict[str, Path]:
        """Write depth/NAME.png (16 bits) and depth-pictures/NAME.png; returns the files by kind.

        Raises InputError for a kind that is not of depth, or if a file cannot be written.
        """
        kinds = find_kinds(save, "depth")
        return {kind.name: write_file(kind, self, Path(folder), name or self.name) for kind in kinds}
