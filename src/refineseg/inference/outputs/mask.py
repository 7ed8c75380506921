"""Masks: train ids as palette index PNG; for a TIFF read by windows a TIFF in the same place on the map."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from refineseg.data.images import index_image
from refineseg.data.pictures.geotiff import Geo
from refineseg.data.pictures.raster import Raster
from refineseg.data.pictures.tiff_samples import NODATA, tifffile_package
from refineseg.inference.encoding.png import write_png_strips
from refineseg.inference.outputs import LargeResult, OutputKind
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_path

if TYPE_CHECKING:
    from refineseg.inference.result import Result

TILE = 256  # side of a TIFF's tile in pixels
BIG = 1 << 31  # bytes above which BigTIFF is written; classic TIFF ends at 4 GiB


class Mask(OutputKind):
    """See the module."""

    name, folder, suffix, media_type = "mask", "masks", ".png", "image/png"
    default = True

    def write(self, result: Result, stream: BinaryIO, effort: int = 6) -> None:
        """HxW uint8, 255 where there is no class."""
        index_image(result.labels, result.label_map).save(stream, format="PNG", compress_level=effort)

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """Row by row."""
        path, palette = self.path(folder, name), large.label_map.palette
        if large.from_tiff:
            path = path.with_name(f"{name}.tif")
            write_index_tiff(path, large.labels, palette, large.picture.geo)
        else:
            write_png_strips(path, large.labels.size, (rows for _, rows in large.labels.strips()), palette)
        return path


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


KIND = Mask()
