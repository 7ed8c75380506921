"""Label-error suspects: regions where the model is sure and the label says otherwise.

The idea is confident learning's (Northcutt et al., JAIR 2021), for regions rather than pictures: pixels that get
another class than their label with a probability of at least SURE, thin strips along outlines left out (an
opening), connected where label and prediction are the same. A region is ranked by area times mean confidence.
Probabilities are the calibrated ones where the model is; an uncalibrated model is mostly too sure and names more.
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
KEPT = 100  # suspects, the strongest of all pictures
THICK = 2  # pixels; a region holds a square of 2 THICK + 1
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Suspect:
    """One region.

    Attributes:
        picture: index in the split.
        label: train id that the truth gives.
        predicted: train id that the model gives.
        area: area in pixels.
        confidence: mean probability of the predicted class.
        box: top, left, bottom, right; the last two are outside.
        mask: the region within the box.
    """

    picture: int
    label: int
    predicted: int
    area: int
    confidence: float
    box: Box
    mask: NDArray[np.bool_] = field(repr=False, compare=False)

    @property
    def score(self) -> float:
        """What suspects are ranked by."""
        return self.area * self.confidence


@dataclass
class Suspects:
    """The strongest suspects so far; a measure for ``evaluate``. Memory does not grow with the pictures.

    Attributes:
        most: largest number of suspects that are kept.
        pictures: number of pictures seen.
    """

    most: int = KEPT
    pictures: int = 0
    _heap: list[tuple[float, int, Suspect]] = field(default_factory=list)
    _found: int = 0

    @classmethod
    def zeros(cls, num_classes: int) -> Suspects:  # noqa: ARG003
        """None yet."""
        components(np.zeros((1, 1), np.bool_))  # the package it needs is missed before the first picture
        return cls()

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.floating[Any]]) -> None:
        """Look at one picture: truth and prediction HxW, probabilities KxHxW."""
        floor = self._heap[0][0] if len(self._heap) == self.most else 0.0
        for item in suspects_of(truth, prediction, probabilities, self.pictures, floor):
            self._keep(item)
        self.pictures += 1

    def merge(self, other: Suspects) -> None:
        """Look at another's pictures, which come after these."""
        found = sorted(other._heap, key=lambda entry: -entry[1])  # in the order in which they were found
        for _score, _age, item in found:
            self._keep(replace(item, picture=self.pictures + item.picture))
        self.pictures += other.pictures

    def _keep(self, item: Suspect) -> None:
        self._found += 1  # breaks ties by age, so that the order is always the same
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
    truth: UInt8,
    prediction: UInt8,
    probabilities: NDArray[np.floating[Any]],
    picture: int = 0,
    floor: float = 0.0,
) -> list[Suspect]:
    """The suspects of one picture whose score is above ``floor``."""
    wrong = (truth != IGNORE) & (prediction != truth)
    confidence = np.take_along_axis(probabilities, prediction[None].astype(np.int64), 0)[0]
    places, areas = components(parted(morphological_opening(wrong & (confidence >= SURE)), truth, prediction))
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


def morphological_opening(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of a mask HxW is covered by squares of 2 THICK + 1 within it."""
    core = window(mask.astype(np.uint8), THICK, np.minimum, 0)
    return window(core, THICK, np.maximum, 0) > 0


def parted(mask: NDArray[np.bool_], truth: UInt8, prediction: UInt8) -> NDArray[np.bool_]:
    """The mask without the pixels that touch, to the right or below, another pair of label and prediction."""
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
