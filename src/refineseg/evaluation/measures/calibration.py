"""Calibration of confidence: calibration error, temperature scaling, risk and coverage.

- *ECE* (Naeini et al., AAAI 2015; Guo et al., ICML 2017): pixels in 15 equal bins of confidence, mean of
  |accuracy - confidence| weighted by the bins' pixels. *Class-wise ECE* (Kull et al., NeurIPS 2019): the same for
  each class's probability, mean over the classes.
- *Temperature* (Guo et al.): probabilities become softmax(log p / T), T of least loss. The per-class form here has
  one T per *predicted* class, at which its mean confidence equals its accuracy, applied to the whole vector of a
  pixel, so that labels stay. Vector scaling (a factor per logit) would change labels.
- *Risk and coverage* (Geifman and El-Yaniv, NeurIPS 2017): error among the most confident share of the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.metrics import Counts, Floats, by_name, divide, nan_to_none
from refineseg.evaluation.protocol import Protocol, find_protocol
from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE, UInt8

BINS, RISK_BINS = 15, 4096
PIXELS = 250_000  # largest number of pixels used of a picture, evenly spread
ENOUGH = 500  # fewest pixels for a class temperature
COLDEST, HOTTEST = 0.25, 8.0  # range of temperatures


@dataclass
class Reliability:
    """Histograms of confidence summed over pictures; a measure for ``evaluate``."""

    top: Floats  # 3xBINS: pixels, sum of confidence, right pixels, by confidence of the predicted class
    classes: Floats  # 3xKxBINS: pixels, sum of the class's probability, pixels of the class
    risk: Counts  # 2xRISK_BINS: pixels and wrong pixels, by confidence

    @classmethod
    def zeros(cls, num_classes: int) -> Reliability:
        """Zero counts."""
        return cls(np.zeros((3, BINS)), np.zeros((3, num_classes, BINS)), np.zeros((2, RISK_BINS), np.int64))

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.floating[Any]]) -> None:
        """Add a picture: truth and prediction HxW, probabilities KxHxW."""
        where = spread_pixels(truth, PIXELS)
        true, predicted = truth.ravel()[where], prediction.ravel()[where]
        chosen = probabilities.reshape(len(probabilities), -1)[:, where].astype(np.float64)
        confidence = np.take_along_axis(chosen, predicted[None].astype(np.int64), 0)[0]
        self.top += confidence_histogram(confidence, predicted == true)
        for index, values in enumerate(chosen):
            self.classes[:, index] += confidence_histogram(values, true == index)
        place = np.clip((confidence * RISK_BINS).astype(np.int64), 0, RISK_BINS - 1)
        self.risk[0] += np.bincount(place, minlength=RISK_BINS)
        self.risk[1] += np.bincount(place[predicted != true], minlength=RISK_BINS)

    def merge(self, other: Reliability) -> None:
        """Add the counts of another."""
        self.top += other.top
        self.classes += other.classes
        self.risk += other.risk

    @property
    def ece(self) -> float:
        """Expected calibration error of the predicted class, in [0, 1]; NaN without pixels."""
        return float(calibration_error(self.top))

    @property
    def class_ece(self) -> Floats:
        """Calibration error of each class's probability."""
        return calibration_error(self.classes)

    def curve(self) -> tuple[Floats, Floats, Floats]:
        """By bin: mean confidence, accuracy (NaN if empty) and share of the pixels."""
        count, confidence, right = self.top
        return divide(confidence, count), divide(right, count), count / max(count.sum(), 1)

    def risk_coverage(self) -> tuple[Floats, Floats]:
        """Coverage (rising to 1) and error rate of the covered pixels, most confident first."""
        count, wrong = (part[::-1].cumsum().astype(np.float64) for part in self.risk)
        used = self.risk[0][::-1] > 0
        return count[used] / max(count[-1], 1), wrong[used] / count[used]

    @property
    def aurc(self) -> float:
        """Area under the risk-coverage curve, in [0, 1]; 0 is best, random confidence gives the error rate."""
        coverage, risk = self.risk_coverage()
        return float((np.diff(coverage, prepend=0.0) * risk).sum()) if coverage.size else float("nan")

    def to_dict(self, names: list[str]) -> dict[str, Any]:
        """Plain values, with the curves for plots."""
        confidence, accuracy, share = self.curve()
        coverage, risk = self.risk_coverage()
        some = np.unique(np.linspace(0, len(coverage) - 1, min(101, len(coverage))).astype(np.int64))
        per_class = self.class_ece
        return {
            "ece": nan_to_none(self.ece),
            "class_wise_ece": nan_to_none(float(np.mean(per_class))),
            "class_ece": by_name(names, per_class),
            "aurc": nan_to_none(self.aurc),
            "curve": {
                "confidence": [nan_to_none(value) for value in confidence],
                "accuracy": [nan_to_none(value) for value in accuracy],
                "share": share.tolist(),
            },
            "risk_coverage": {"coverage": coverage[some].tolist(), "risk": risk[some].tolist()},
        }


def confidence_histogram(values: Floats, right: NDArray[np.bool_]) -> Floats:
    """3xBINS: number of values, their sum, and number of right ones in equal bins of [0, 1]."""
    place = np.clip((values * BINS).astype(np.int64), 0, BINS - 1)
    return np.stack([np.bincount(place, weight, BINS) for weight in (None, values, right)]).astype(np.float64)


def calibration_error(bins: Floats) -> Floats:
    """Mean |right - confidence| of histograms 3x...xBINS, weighted by pixels."""
    count, confidence, right = bins
    return divide(np.abs(right - confidence).sum(-1), count.sum(-1))


def spread_pixels(truth: UInt8, most: int) -> NDArray[np.int64]:
    """Flat indices of valid pixels, at most ``most``, evenly spread."""
    valid = np.flatnonzero(truth != IGNORE)
    return valid if len(valid) <= most else valid[np.linspace(0, len(valid) - 1, most).astype(np.int64)]


def fit_temperatures(logs: Floats, truth: NDArray[np.integer[Any]], per_class: bool = False) -> Floats:
    """K temperatures by predicted class, from log probabilities (or logits) NxK and N train ids.

    All are the same, except with ``per_class`` those of classes with 500 pixels or more.
    """
    temperatures = np.full(logs.shape[1], _least_loss(logs, truth))
    if per_class:
        enough = np.bincount(logs.argmax(1), minlength=logs.shape[1]) >= ENOUGH
        temperatures[enough] = _as_sure_as_right(logs, truth)[enough]
    return temperatures


def _least_loss(logs: Floats, truth: NDArray[np.integer[Any]]) -> float:
    """The temperature of least negative log-likelihood, by Newton's method: the loss is convex in 1/T."""
    inverse = 1.0
    true = np.take_along_axis(logs, truth[:, None].astype(np.int64), 1)[:, 0]
    for _ in range(50):
        weight = np.exp(inverse * (logs - logs.max(1, keepdims=True)))
        weight /= weight.sum(1, keepdims=True)
        mean = (weight * logs).sum(1)
        bend = ((weight * logs**2).sum(1) - mean**2).sum()
        step = (mean - true).sum() / max(bend, 1e-12)
        # At most halved or doubled per step.
        after = float(np.clip(np.clip(inverse - step, inverse / 2, inverse * 2), 1 / HOTTEST, 1 / COLDEST))
        if abs(after - inverse) < 1e-7:
            break
        inverse = after
    return 1 / inverse


def _as_sure_as_right(logs: Floats, truth: NDArray[np.integer[Any]]) -> Floats:
    """For each predicted class the temperature at which its mean confidence equals its accuracy, by bisection.

    Least loss is worse here: it depends on a class's few gross errors, not on the gap that the ECE measures.
    """
    count, predicted = logs.shape[1], logs.argmax(1)
    pixels = np.bincount(predicted, minlength=count).astype(np.float64)
    accuracy = divide(np.bincount(predicted[predicted == truth], minlength=count).astype(np.float64), pixels)
    below_top = logs - logs.max(1, keepdims=True)
    low, high = np.full(count, COLDEST), np.full(count, HOTTEST)
    for _ in range(30):
        middle = np.sqrt(low * high)
        confidence = 1 / np.exp(below_top / middle[predicted][:, None]).sum(1)
        sure = np.bincount(predicted, confidence, count).astype(np.float64)
        too_sure = divide(sure, pixels) > accuracy
        low, high = np.where(too_sure, middle, low), np.where(too_sure, high, middle)
    return np.asarray(np.sqrt(low * high))


def apply_temperatures(probabilities: Floats, temperatures: Floats) -> Floats:
    """NxK probabilities after temperature scaling, as in the predictor."""
    scores = probabilities.T[None]
    return np.asarray(ArrayOps().softened(scores, scores.argmax(1), temperatures)[0].T)


def expected_error(probabilities: Floats, truth: NDArray[np.integer[Any]]) -> float:
    """ECE of NxK probabilities."""
    predicted = probabilities.argmax(1)
    confidence = np.take_along_axis(probabilities, predicted[:, None], 1)[:, 0]
    return float(calibration_error(confidence_histogram(confidence, predicted == truth)))


def calibrate(
    segmenter: Segmenter,
    data: SegmentationData,
    split: str = "val",
    *,
    protocol: str | Protocol = "single",
    per_class: bool = False,
    pixels: int = 200_000,
) -> dict[str, Any]:
    """Fit temperatures on a split: the value of ``ModelCard.calibration``, which the predictor applies.

    The errors before and after are cross-validated between the first and the second half of the pictures, so that
    neighbouring frames are not on both sides. The temperatures come from all pictures. InputError for a missing
    split or an unreadable pair.
    """
    kept = sampled_scores(segmenter, data, split, protocol, pixels)
    before, after = held_out_errors(kept, per_class)
    probabilities, truth = joined(kept)
    temperatures = fit_temperatures(to_logs(probabilities), truth, per_class)
    return {
        "temperatures": [float(value) for value in temperatures],
        "kind": "by predicted class" if per_class else "global",
        "data": data.name,
        "split": split,
        "pixels": len(truth),
        "ece_before": nan_to_none(before),
        "ece_after": nan_to_none(after),
    }


def sampled_scores(
    segmenter: Segmenter,
    data: SegmentationData,
    split: str,
    protocol: str | Protocol = "single",
    pixels: int = 200_000,
) -> list[tuple[Floats, UInt8]]:
    """Uncalibrated probabilities NxK and truth N of at most ``pixels`` pixels over the split, by picture."""
    chosen = find_protocol(protocol)
    raw = Segmenter(segmenter.runner, replace(segmenter.card, calibration={}))
    samples = data.split(split)
    most = max(1, pixels // len(samples))
    kept: list[tuple[Floats, UInt8]] = []
    for sample in samples:
        image, truth = data.read(sample)
        result = chosen.predict(raw, image, probabilities=True)
        assert result.probabilities is not None
        where = spread_pixels(truth, most)
        scores = result.probabilities.reshape(len(result.probabilities), -1)[:, where].T.astype(np.float64)
        kept.append((scores / scores.sum(1, keepdims=True), truth.ravel()[where]))
    return kept


def held_out_errors(kept: list[tuple[Floats, UInt8]], per_class: bool) -> tuple[float, float]:
    """ECE before and after, each half of the pictures with the temperatures of the other."""
    middle = (len(kept) + 1) // 2
    first, second = joined(kept[:middle]), joined(kept[middle:] or kept)
    after = []
    for (fitted, truth), (probabilities, judged) in ((first, second), (second, first)):
        temperatures = fit_temperatures(to_logs(fitted), truth, per_class)
        after.append((apply_temperatures(probabilities, temperatures), judged))
    return expected_error(*joined([second, first])), expected_error(*joined(after))


def joined(kept: Sequence[tuple[Floats, UInt8]]) -> tuple[Floats, UInt8]:
    """Probabilities and truth of several pictures in one array each."""
    probabilities, truth = zip(*kept, strict=True)
    return np.concatenate(probabilities), np.concatenate(truth)


def to_logs(probabilities: Floats) -> Floats:
    """Logarithms, finite for a probability of 0."""
    return np.log(np.maximum(probabilities, 1e-9))
