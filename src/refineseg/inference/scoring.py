"""From pictures to score maps with any runner, and from score maps to labels and probabilities, strip by strip.

Views (scales, mirrored) are made and fused here, for networks and exported files alike. No torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Pixels
from refineseg.errors import WeightsError
from refineseg.inference.array_ops import Array, Filter
from refineseg.inference.options import PredictOptions, views_of
from refineseg.inference.runners import Runner
from refineseg.inference.tiles.blending import Strip
from refineseg.labels import UInt8
from refineseg.model.folders.card import ModelCard
from refineseg.system.text import counted

Probabilities = NDArray[np.float16]  # probabilities in [0, 1]


class Scoring:
    """Turns pictures into scores, and scores into labels."""

    def __init__(self, runner: Runner, card: ModelCard) -> None:
        self.runner = runner
        self.array_ops = runner.array_ops
        self.channels = card.channels
        self.resize = card.resize
        # the train id that each class has in a mirrored picture (left arm, right arm)
        self.mirrored_class = card.labels.mirrored.astype(np.int64)
        self.temperatures = temperatures(card)

    def scaled(self, pixels: Pixels) -> NDArray[Any]:
        """HxWx3 uint8 unchanged; raw values of other channels as HxWxC float32 in [0, 1]."""
        return pixels if self.channels is None else self.channels.to_unit(pixels)

    def maps(self, pictures: NDArray[Any], options: PredictOptions, window: bool = False) -> list[Array]:
        """A map BxKxhxw per view: logits for a single view, floored log-probabilities for several; or depth.

        The model's resize rule applies to whole pictures, not to a ``window``.
        """
        array_ops, views = self.array_ops, views_of(options)
        images = array_ops.unit(pictures)
        found = [self._logits(images, *view, window) for view in views]
        if len(views) == 1 or self.runner.config.outputs == "depth":
            return found  # softmax keeps the order: the largest logit is the largest probability
        return [array_ops.log_probabilities(logits) for logits in found]

    def seen(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of a whole picture of ``size`` as the network sees it at scale 1."""
        return size if self.resize is None else self.resize.size(*size)

    def _logits(self, images: Array, scale: float, mirrored: bool, window: bool = False) -> Array:
        """Logits of one view, mirrored back."""
        array_ops = self.array_ops
        size = (images.shape[2], images.shape[3])
        height, width = (max(1, round(side * scale)) for side in (size if window else self.seen(size)))
        if (height, width) != size:
            filter: Filter = "bilinear" if self.resize is None else self.resize.filter
            images = array_ops.resized(images, height, width, filter)
        if not mirrored:
            return self.runner(images)
        logits = array_ops.mirrored(self.runner(array_ops.mirrored(images)))
        return logits[:, self.mirrored_class[: logits.shape[1]]]

    def finished(
        self, strip: Strip, rows: tuple[int, int], size: tuple[int, int], options: PredictOptions
    ) -> tuple[UInt8, Probabilities | None]:
        """Labels BxhxW and, if kept, probabilities BxKxhxW for ``rows`` (first, end) of a strip.

        One view: the largest upsampled logit. Several: the exponentials of the upsampled log-probabilities are
        averaged, as in the authors' evaluation. Temperatures never change a label.
        """
        array_ops, (batch, classes) = self.array_ops, strip.maps[0].shape[:2]
        top, bottom = rows
        labels = np.empty((batch, bottom - top, size[1]), np.uint8)
        kept = np.empty((batch, classes, bottom - top, size[1]), np.float16) if options.probabilities else None
        for first, last in array_ops.ranges(top, bottom, classes, size[1]):
            parts = [
                array_ops.upsampled(scores, first, last, size, row, source)
                for scores, row, source in zip(strip.maps, strip.firsts, strip.sources, strict=True)
            ]
            scores = parts[0] if len(parts) == 1 else array_ops.summed(parts)
            part = slice(first - top, last - top)
            if kept is None:
                labels[:, part] = array_ops.to_numpy(array_ops.largest(scores))
                continue
            scores = array_ops.softmax(scores) if len(parts) == 1 else array_ops.normalised(scores)
            found = array_ops.largest(scores)
            if self.temperatures is not None:
                scores = array_ops.softened(scores, found, self.temperatures)
            labels[:, part], kept[:, :, part] = array_ops.to_numpy(found), array_ops.to_numpy(scores)
        return labels, kept


def temperatures(card: ModelCard) -> NDArray[np.float32] | None:
    """K temperatures, one per predicted class, from the model's calibration; None without one."""
    values = card.calibration.get("temperatures")
    if values is None:
        return None
    if len(values) != card.labels.num_classes or not all(0 < value < float("inf") for value in values):
        raise WeightsError(
            f"expected {counted(card.labels.classes, 'temperature')} above 0 in the model's calibration, got "
            f"{values}"
        )
    return np.asarray(values, np.float32)
