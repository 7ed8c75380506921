"""The measures of ``--measure``, one per file.

To add one, add a class with the methods of ``Measure`` in a file here, and its line in ``MEASURES``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refineseg.errors import InputError
from refineseg.evaluation.measures.boundary import BoundaryCounts
from refineseg.evaluation.measures.calibration import Reliability
from refineseg.evaluation.measures.distance import DistanceCounts
from refineseg.evaluation.measures.sizes import SizeCounts
from refineseg.evaluation.measures.suspects import Suspects
from refineseg.labels import UInt8


class Measure(Protocol):
    """Figures beyond the confusion matrix, accumulated over pictures."""

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.float16]) -> None:
        """Add a picture: masks HxW, probabilities KxHxW (empty if no measure needs them)."""

    def merge(self, other: Any) -> None:
        """Add the later pictures of another measure of this kind."""

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Plain values for JSON."""


MEASURES: dict[str, Callable[[int], Measure]] = {
    "boundary": BoundaryCounts.zeros,
    "calibration": Reliability.zeros,
    "sizes": SizeCounts.zeros,
    "distance": DistanceCounts.zeros,
    "suspects": Suspects.zeros,
}
NEED_PROBABILITIES = ("calibration", "suspects")
CARD = {  # figures of each measure on the model card
    "boundary": ("mean_boundary_iou", "mean_f_score", "mean_trimap_iou"),
    "calibration": ("ece", "class_wise_ece", "aurc"),
    "sizes": ("mean_iou",),
    "distance": ("boundary_accuracy", "interior_accuracy"),
}


def make_measures(given: Sequence[str | Measure], num_classes: int) -> dict[str, Measure]:
    """New measures by name."""
    unknown = [name for name in given if isinstance(name, str) and name not in MEASURES]
    if unknown:
        raise InputError(f"expected measures of {', '.join(MEASURES)}, got {unknown[0]!r}")
    return {
        **{name: MEASURES[name](num_classes) for name in given if isinstance(name, str)},
        **{type(measure).__name__: measure for measure in given if not isinstance(measure, str)},
    }
