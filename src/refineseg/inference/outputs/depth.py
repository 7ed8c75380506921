"""Depth as a 16-bit PNG: millimetres, or the smallest to the largest value as 0 to 65535."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from refineseg.inference.outputs import OutputKind

if TYPE_CHECKING:
    from refineseg.inference.depth import Depth


class DepthLevels(OutputKind):
    """See the module."""

    name, folder, suffix, media_type = "depth", "depth", ".png", "image/png"
    outputs, default = "depth", True

    def write(self, result: Depth, stream: BinaryIO, effort: int = 6) -> None:
        """HxW of 16 bits."""
        Image.fromarray(result.levels()).save(stream, format="PNG", compress_level=effort)


KIND = DepthLevels()
