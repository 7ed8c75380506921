"""Confidence: the probability of each pixel's label as grey PNG; 255 is certain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.inference.encoding.png import write_png_strips
from refineseg.inference.outputs import LargeResult, OutputKind
from refineseg.labels import UInt8

if TYPE_CHECKING:
    from refineseg.inference.result import Result


class Confidence(OutputKind):
    """See the module."""

    name, folder, suffix, media_type = "confidence", "confidence", ".png", "image/png"
    needs_probabilities = True

    def write(self, result: Result, stream: BinaryIO, effort: int = 6) -> None:
        """HxW of 8 bits."""
        assert result.probabilities is not None  # Result.write refuses before
        Image.fromarray(self.shown(result.probabilities)).save(stream, format="PNG", compress_level=effort)

    @staticmethod
    def shown(probabilities: NDArray[Any]) -> UInt8:
        """Grey values HxW of KxHxW probabilities: the largest times 255, rounded."""
        return np.asarray(np.rint(probabilities.max(0).astype(np.float32) * 255), np.uint8)

    def keep(self, probabilities: NDArray[np.float16]) -> NDArray[Any]:
        """1xhxw."""
        return self.shown(probabilities)[None]

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """Row by row."""
        path = self.path(folder, name)
        write_png_strips(path, large.labels.size, (rows for _, rows in large.kept[0].strips()))
        return path


KIND = Confidence()
