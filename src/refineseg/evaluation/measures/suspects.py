"""Suspected label errors: regions where the model confidently contradicts the label.

Confident learning (Northcutt et al., JAIR 2021) for regions: connected pixels of one label and one other
prediction with a probability of at least SURE, without thin strips along outlines (by an opening), ranked by area
times mean confidence. An uncalibrated model is mostly too confident and yields more.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.evaluation.measures.boundary import window
from refineseg.evaluation.measures.sizes import components
from refineseg.labels import IGNORE, UInt8

SURE = 0.8
KEPT = 100  # strongest suspects kept
THICK = 2  # a region contains a square of side 2 THICK + 1, in pixels
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Suspect:
    """A region."""

    picture: int  # index in the split
    # train ids
    label: int
    predicted: int
    area: int  # in pixels
    confidence: float  # mean probability of the predicted class
    box: Box  # top, left, bottom, right (exclusive)
    mask: NDArray[np.bool_] = field(repr=False, compare=False)  # the region within the box

    @property
    def score(self) -> float:
        """Area times confidence, for ranking."""
        return self.area * self.confidence


@dataclass
class Suspects:
    """The ``most`` strongest suspects of the pictures so far; a measure for ``evaluate``."""

    most: int = KEPT
    pictures: int = 0
    _heap: list[tuple[float, int, Suspect]] = field(default_factory=list)
    _found: int = 0

    @classmethod
    def zeros(cls, num_classes: int) -> Suspects:  # noqa: ARG003
        """None yet."""
        components(np.zeros((1, 1), np.bool_))  # fails now if scipy is missing
        return cls()

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.floating[Any]]) -> None:
        """Add a picture: truth and prediction HxW, probabilities KxHxW."""
        floor = self._heap[0][0] if len(self._heap) == self.most else 0.0
        for item in suspects_of(truth, prediction, probabilities, self.pictures, floor):
            self._keep(item)
        self.pictures += 1

    def merge(self, other: Suspects) -> None:
        """Add the later pictures of another."""
        found = sorted(other._heap, key=lambda entry: -entry[1])  # in the order in which they were found
        for _score, _age, item in found:
            self._keep(replace(item, picture=self.pictures + item.picture))
        self.pictures += other.pictures

    def _keep(self, item: Suspect) -> None:
        self._found += 1  # breaks ties by age, for a deterministic order
        heapq.heappush(self._heap, (item.score, -self._found, item))
        if len(self._heap) > self.most:
            heapq.heappop(self._heap)

    @property
    def ranked(self) -> list[Suspect]:
        """Strongest first."""
        return [item for _score, _age, item in sorted(self._heap, reverse=True)]

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Plain values; ``picture`` is an index in the evaluation's ``images``."""
        entries = [
            {
                "picture": item.picture,
                "label": names[item.label],
                "predicted": names[item.predicted],
                "area": item.area,
                "confidence": round(item.confidence, 4),
                "box": list(item.box),
            }
            for item in self.ranked
        ]
        return {"sure": SURE, "regions": entries}


def suspects_of(
    truth: UInt8, prediction: UInt8, probabilities: NDArray[np.floating[Any]], picture: int = 0, floor: float = 0.0
) -> list[Suspect]:
    """The suspects of one picture whose score is above ``floor``."""
    wrong = (truth != IGNORE) & (prediction != truth)
    confidence = np.take_along_axis(probabilities, prediction[None].astype(np.int64), 0)[0]
    core = window((wrong & (confidence >= SURE)).astype(np.uint8), THICK, np.minimum, 0)  # morphological opening
    thick = window(core, THICK, np.maximum, 0) > 0
    places, areas = components(separated(thick, truth, prediction))
    flat = np.flatnonzero(places)
    numbers = places.ravel()[flat]
    sure = confidence.ravel()[flat].astype(np.float64)
    total = np.bincount(numbers, sure, minlength=len(areas))
    flat = flat[np.argsort(numbers, kind="stable")]
    ends = np.cumsum(areas[1:])
    found = []
    for number in np.flatnonzero(total[1:] > floor):
        pixels = flat[ends[number] - areas[number + 1] : ends[number]]
        rows, columns = np.divmod(pixels, truth.shape[1])
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        mask = np.zeros((bottom - top, right - left), np.bool_)
        mask[rows - top, columns - left] = True
        found.append(
            Suspect(
                picture=picture,
                label=int(truth.ravel()[pixels[0]]),
                predicted=int(prediction.ravel()[pixels[0]]),
                area=len(pixels),
                confidence=float(total[number + 1] / len(pixels)),
                box=(int(top), int(left), int(bottom), int(right)),
                mask=mask,
            )
        )
    return found


def separated(mask: NDArray[np.bool_], truth: UInt8, prediction: UInt8) -> NDArray[np.bool_]:
    """The mask without pixels whose right or lower neighbours have another label or prediction."""
    pair = truth.astype(np.int32) * 256 + prediction
    result = mask.copy()
    for first, second in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[:-1, :-1], np.s_[1:, 1:]),
        (np.s_[:-1, 1:], np.s_[1:, :-1]),
    ):
        result[first] &= ~(mask[first] & mask[second] & (pair[first] != pair[second]))
    return result
