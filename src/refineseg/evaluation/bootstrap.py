"""Confidence intervals: percentile bootstrap over pictures (Efron and Tibshirani, 1993, chapter 13).

Pictures are resampled, not pixels, which are far from independent. Video frames are not independent either: their
intervals are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.evaluation.metrics import MEANS, MeanOver, Sums, means, nan_to_none

Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Resampling:
    """Number of resamples, confidence level and random seed."""

    samples: int = 1000
    level: float = 0.95
    seed: int = 0

    def weights(self, pictures: int) -> NDArray[np.float64]:
        """Number of times each picture is drawn: samples x pictures."""
        draw = np.random.default_rng(self.seed)
        return draw.multinomial(pictures, np.full(pictures, 1 / pictures), size=self.samples).astype(np.float64)

    def interval(self, values: NDArray[np.float64]) -> Interval:
        """The central percentiles of resampled scores, without NaN."""
        known = values[~np.isnan(values)]
        if not known.size:
            return NONE
        low, high = np.quantile(known, [(1 - self.level) / 2, (1 + self.level) / 2])
        return float(low), float(high)


DEFAULT = Resampling()


def resample(sums: Sums, weights: NDArray[np.float64]) -> Sums:
    """Sums NxK of pictures to sums SxK of resamples."""
    return Sums(weights @ sums.hit, weights @ sums.true, weights @ sums.predicted)


def intervals(sums: Sums, mean_over: MeanOver = "truth", resampling: Resampling = DEFAULT) -> dict[str, Interval]:
    """An interval for every mean of ``MEANS``, from sums NxK of pictures; NaN for fewer than two pictures."""
    if len(sums.hit) < 2:
        return dict.fromkeys(MEANS, NONE)
    values = means(resample(sums, resampling.weights(len(sums.hit))), mean_over)
    return {name: resampling.interval(values[name]) for name in MEANS}


def difference_interval(
    first: Sums, second: Sums, mean_over: MeanOver = "truth", resampling: Resampling = DEFAULT
) -> Interval:
    """Paired interval of the second's mean IoU minus the first's, on the same pictures in the same order."""
    if len(first.hit) < 2:
        return NONE
    weights = resampling.weights(len(first.hit))
    before, after = (means(resample(sums, weights), mean_over)["mean_iou"] for sums in (first, second))
    return resampling.interval(after - before)


def intervals_to_dict(values: dict[str, Interval], resampling: Resampling = DEFAULT) -> dict[str, Any]:
    """Plain values: limits by mean, level and method."""
    ends: dict[str, Any] = {name: [nan_to_none(end) for end in pair] for name, pair in values.items()}
    method = f"percentile bootstrap over pictures, {resampling.samples} resamples, seed {resampling.seed}"
    return ends | {"level": resampling.level, "method": method}
