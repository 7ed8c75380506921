"""Masks: train ids as palette index PNG; for a TIFF read by windows a TIFF in the same place on the map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from refineseg.data.images import index_image
from refineseg.inference.encoding.png import write_png
from refineseg.inference.outputs import Kind, LargeResult

if TYPE_CHECKING:
    from refineseg.inference.result import Result


class Mask(Kind):
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
            from refineseg.inference.encoding.mask_tiff import write_index_tiff

            path = path.with_name(f"{name}.tif")
            write_index_tiff(path, large.labels, palette, large.picture.geo)
        else:
            write_png(path, large.labels.size, (rows for _, rows in large.labels.strips()), palette)
        return path


KIND = Mask()
