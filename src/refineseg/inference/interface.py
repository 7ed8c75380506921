"""What predictors have in common, for those who write files and scores with any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.result import Result
from refineseg.inference.tiles.blending import Plan, Read, Strip
from refineseg.labels import UInt8
from refineseg.model.card import ModelCard


class Predictor(Protocol):
    """A Segmenter (torch) or a PortableSegmenter (an exported file, without torch)."""

    card: ModelCard

    @property
    def class_names(self) -> list[str]:
        """Class names by train id."""

    def predict(
        self,
        image: str | Path | Image.Image | NDArray[Any],
        *,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        probabilities: bool = False,
        tile: Tile = None,
    ) -> Result:
        """Segment one picture."""

    def plan(self, size: tuple[int, int], options: PredictOptions, tile: int | Literal["auto"]) -> Plan:
        """The windows of a picture."""

    def strips(
        self,
        plan: Plan,
        read: Read,
        options: PredictOptions,
        start_row: int = 0,
        each: Callable[[], None] | None = None,
        change: Callable[[Strip], Strip] | None = None,
    ) -> Iterator[tuple[int, UInt8, NDArray[np.float32] | None]]:
        """Strips of a picture seen in windows: first row, labels hxW and, if asked for, probabilities Kxhxw."""

    def fingerprint(self) -> str:
        """Of all that labels depend on beside picture and options: weights, engine, precision."""
