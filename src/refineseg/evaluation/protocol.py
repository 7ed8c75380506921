"""Evaluation: the predictor over a split, one confusion matrix, and the protocol that made the score."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refineseg.data.source import SegmentationData
from refineseg.errors import InputError
from refineseg.evaluation.metrics import Counts, Scores, confusion_matrix, scores
from refineseg.inference.predictor import Segmenter

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Protocol:
    """How a score was made; it stands beside every score.

    Attributes:
        scales: of the picture, averaged as in the paper (log space, floor -20).
        flip: whether the mirrored picture is averaged in.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def describe(self) -> str:
        """One line in words."""
        scale = "single scale" if self.scales == (1.0,) else f"scales {', '.join(f'{s:g}' for s in self.scales)}"
        return (
            f"{scale}, {'with' if self.flip else 'no'} flip, labels at their own size, void left out, "
            "one confusion matrix over the split, mean over the classes in the ground truth"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "scales": list(self.scales),
            "flip": self.flip,
            "fusion": "softmax at stride 4, log, floor -20, bilinear to the picture's size, exp, mean",
            "labels": "own size",
            "absent_classes": "left out of the mean",
            "mean_over": "classes in the ground truth",
            "sums": "data set",
            "text": self.describe(),
        }


@dataclass(frozen=True)
class Evaluation:
    """A score with all that made it."""

    scores: Scores
    confusion: Counts
    protocol: Protocol
    class_names: list[str]
    data: str
    split: str
    pictures: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """What ``evaluate --json`` writes."""
        return {
            **self.scores.to_dict(self.class_names),
            "protocol": self.protocol.to_dict(),
            "data": self.data,
            "split": self.split,
            "pictures": self.pictures,
            "seconds": round(self.seconds, 3),
            "confusion": self.confusion.tolist(),
        }

    def for_card(self) -> dict[str, Any]:
        """What a model folder keeps of it."""
        kept = {
            key: value for key, value in self.to_dict().items() if key not in ("confusion", "accuracy", "seconds")
        }
        return kept | {"protocol": self.protocol.describe()}


def evaluate(
    segmenter: Segmenter,
    data: SegmentationData,
    split: str = "val",
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a model on a split, picture by picture with the predictor of ``predict``; memory stays flat.

    Args:
        segmenter: the model.
        data: the data set; its classes must be the model's.
        split: ``train``, ``val`` or ``test``.
        scales, flip: as in ``predict``.
        progress: called with (done, all).

    Raises:
        InputError: other classes than the model's, an empty split, an unreadable pair.
    """
    if data.label_map.names != segmenter.class_names:
        raise InputError(
            f"expected data with the model's classes {segmenter.class_names}, got {data.label_map.names}"
        )
    protocol = Protocol(tuple(scales), flip)
    samples = data.split(split)
    count = data.label_map.num_classes
    confusion = np.zeros((count, count), np.int64)
    start = time.perf_counter()
    for done, sample in enumerate(samples, 1):
        image, truth = data.read(sample)
        result = segmenter.predict(image, scales=protocol.scales, flip=flip)
        confusion += confusion_matrix(truth, result.labels, count)
        if progress is not None:
            progress(done, len(samples))
    return Evaluation(
        scores=scores(confusion),
        confusion=confusion,
        protocol=protocol,
        class_names=data.label_map.names,
        data=data.name,
        split=split,
        pictures=len(samples),
        seconds=time.perf_counter() - start,
    )
