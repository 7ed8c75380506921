"""Depth in colour as PNG, from dark (far) to light (near)."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from refineseg.inference.outputs import OutputKind

if TYPE_CHECKING:
    from refineseg.inference.depth import Depth


class DepthPicture(OutputKind):
    """See the module."""

    name, folder, suffix, media_type = "depth-picture", "depth-pictures", ".png", "image/png"
    outputs, default = "depth", True

    def write(self, result: Depth, stream: BinaryIO, effort: int = 6) -> None:
        """HxW RGB."""
        result.picture().save(stream, format="PNG", compress_level=effort)


KIND = DepthPicture()
