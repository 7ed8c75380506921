"""Georeference of a raster: the tags of GeoTIFF (OGC 19-008r4) as stored, and the transform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXEL_SCALE, TIEPOINT, TRANSFORMATION, KEYS, DOUBLES, TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
TAGS = {PIXEL_SCALE: 12, TIEPOINT: 12, TRANSFORMATION: 12, KEYS: 3, DOUBLES: 12, TEXTS: 2}  # code: TIFF type
RASTER_TYPE, PIXEL_IS_POINT = 1025, 2
PROJECTED, GEOGRAPHIC = 3072, 2048
USER_DEFINED = 32767
SHORTENED = 1e30  # larger values are often written with too few digits


@dataclass(frozen=True)
class Geo:
    """The geographic tags of a TIFF by code; empty without georeference."""

    tags: dict[int, Any] = field(default_factory=dict)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float] | None:
        """(a, b, c, d, e, f): the map's x = a column + b row + c, y = d column + e row + f; None without tags.

        Columns and rows count from the outer corner of the first pixel.
        """
        if TRANSFORMATION in self.tags:
            m = np.asarray(self.tags[TRANSFORMATION], float).reshape(4, 4)
            a, b, c, d, e, f = (float(m[i, j]) for i in (0, 1) for j in (0, 1, 3))
        elif PIXEL_SCALE in self.tags and TIEPOINT in self.tags:
            a, scale = (float(value) for value in self.tags[PIXEL_SCALE][:2])
            column, row, _, x, y = (float(value) for value in self.tags[TIEPOINT][:5])
            b, d, e = 0.0, 0.0, -scale
            c, f = x - column * a, y + row * scale
        else:
            return None
        if self._key(RASTER_TYPE) == PIXEL_IS_POINT:  # relative to pixel centres
            c, f = c - (a + b) / 2, f - (d + e) / 2
        return (a, b, c, d, e, f)

    @property
    def epsg(self) -> int | None:
        """EPSG code of the coordinate system, or None."""
        code = self._key(PROJECTED) or self._key(GEOGRAPHIC)
        return None if code in (None, 0, USER_DEFINED) else code

    def to_map(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points Nx2 (column, row) in map coordinates; unchanged without a transform."""
        if self.transform is None:
            return points
        a, b, c, d, e, f = self.transform
        x, y = points[:, 0], points[:, 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    def extra_tags(self) -> list[tuple[int, int, int, Any, bool]]:
        """The tags as tifffile's ``extratags``."""
        return [
            (code, TAGS[code], len(value) + isinstance(value, str), value, True)  # texts end with a zero byte
            for code, value in self.tags.items()
        ]

    def _key(self, tag: int) -> int | None:
        """A value stored in the key directory itself, or None."""
        keys = np.asarray(self.tags.get(KEYS, ()), int)[4:]
        for key, place, _, value in keys[: len(keys) // 4 * 4].reshape(-1, 4):
            if key == tag and place == 0:
                return int(value)
        return None


def parse_nodata(text: str, dtype: np.dtype[Any]) -> float | int | None:
    """The value of GDAL's no-data tag 42113 (a number, ``nan`` or ``inf``); None if ``dtype`` cannot hold it."""
    text = text.strip(" \0")
    try:
        value = float(text)
    except ValueError:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    if dtype.kind not in "iu" or not np.isfinite(value) or value != int(value):
        return None
    whole = int(text) if text.lstrip("+-").isdecimal() else int(value)  # 64-bit integers have more digits
    limits = np.iinfo(dtype)
    return whole if limits.min <= whole <= limits.max else None


def is_nodata(samples: NDArray[Any], nodata: float | int | None) -> NDArray[np.bool_]:
    """Whether samples are no-data: equal to ``nodata``, or not finite."""
    none = ~np.isfinite(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, np.bool_)
    if nodata is None or np.isnan(nodata):
        return none
    if abs(nodata) >= SHORTENED and np.isfinite(nodata):  # -3.40282e+38 means the smallest float32
        with np.errstate(over="ignore"):
            return np.asarray(none | np.isclose(samples, nodata, rtol=1e-5, atol=0))
    return np.asarray(none | (samples == samples.dtype.type(nodata)))
