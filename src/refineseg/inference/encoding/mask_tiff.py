"""Masks written as TIFF or GeoTIFF, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refineseg.data.pictures.geotiff import Geo
from refineseg.data.pictures.raster import Raster
from refineseg.data.pictures.tiff_samples import NODATA, tifffile_package
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_path

TILE = 256  # side of a tile in pixels
BIG = 1 << 31  # bytes above which BigTIFF is written; classic TIFF ends at 4 GiB


def write_index_tiff(path: Path, labels: Raster, palette: UInt8, geo: Geo) -> None:
    """Write HxW train ids as a tiled, deflated TIFF with a colour map (256x3) and geographic tags.

    It is a BigTIFF above 2 GiB. GDAL's no-data tag is set to 255, the label of pixels without data.
    """
    tifffile = tifffile_package()
    height, width = labels.size
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary, bigtiff=height * width > BIG) as writer:
        writer.write(
            _tiles(labels),
            shape=labels.size,
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="palette",
            colormap=(palette.T.astype(np.uint16) * 257),
            compression="zlib",
            extratags=[*geo.extra_tags(), (NODATA, 2, 4, str(IGNORE), True)],
            metadata=None,
        )


def _tiles(labels: Raster) -> Iterator[UInt8]:
    for _, rows in labels.strips(TILE):
        padded = np.pad(rows, ((0, TILE - rows.shape[0]), (0, -rows.shape[1] % TILE)))
        for left in range(0, padded.shape[1], TILE):
            yield np.ascontiguousarray(padded[:, left : left + TILE])
