"""Overlays: the picture with its classes in colour and a legend, as JPEG."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from refineseg.channels import display_rgb
from refineseg.inference.outputs import LargeResult, OutputKind, write_file

if TYPE_CHECKING:
    from refineseg.inference.result import Result

PIXELS = 32_000_000  # most pixels; larger overlays are made from every n-th row and column
SIDE = 30_000  # longest side of these
JPEG_SIDE = 60_000  # a JPEG has at most 65,500 pixels a side, with the legend


class Overlay(OutputKind):
    """See the module. For videos it is a video."""

    name, folder, suffix, media_type = "overlay", "overlays", ".jpg", "image/jpeg"
    default = True

    def write(self, result: Result, stream: BinaryIO, effort: int = 6) -> None:
        """JPEG of the picture's height; of every n-th row and column for a side beyond ``JPEG_SIDE``."""
        del effort
        step = ceil(max(result.labels.shape) / JPEG_SIDE)
        every = (slice(None, None, step), slice(None, None, step))
        shown = result if step == 1 else replace(result, labels=result.labels[every], image=result.image[every])
        shown.overlay().save(stream, format="JPEG", quality=92)

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """An overlay of every n-th row and column, with at most ``PIXELS`` pixels."""
        from refineseg.inference.result import Result

        height, width = large.labels.size
        step = max(1, ceil((height * width / PIXELS) ** 0.5), ceil(max(height, width) / SIDE))
        small, seen = [], []
        for top, rows in large.labels.strips(256 * step):
            pixels = large.picture.read(top, top + len(rows), 0, width)[::step, ::step]
            small.append(rows[::step, ::step].copy())  # views would keep every whole strip alive
            seen.append(display_rgb(pixels, large.channels).copy())
        return write_file(self, Result(np.concatenate(small), large.label_map, np.concatenate(seen)), folder, name)


KIND = Overlay()
