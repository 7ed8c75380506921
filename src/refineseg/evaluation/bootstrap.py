"""Confidence intervals: percentile bootstrap over pictures (Efron and Tibshirani, 1993, chapter 13).

Pictures are resampled, not pixels, which are far from independent. Video frames are not independent either: their
intervals are too narrow.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refineseg.evaluation.metrics import MEANS, Floats, MeanOver, Sums, means, nan_to_none

RESAMPLES, LEVEL, SEED = 1000, 0.95, 0
Interval = tuple[float, float]
NONE: Interval = (float("nan"), float("nan"))


def resample_counts(pictures: int) -> Floats:
    """Number of times that each picture is drawn: RESAMPLES x pictures."""
    random = np.random.default_rng(SEED)
    return random.multinomial(pictures, np.full(pictures, 1 / pictures), size=RESAMPLES).astype(np.float64)


def resample(sums: Sums, weights: Floats) -> Sums:
    """Sums NxK of pictures to sums SxK of resamples."""
    return Sums(*(weights @ part for part in sums))


def interval(values: Floats) -> Interval:
    """The central percentiles of resampled scores, without NaN."""
    known = values[~np.isnan(values)]
    if not known.size:
        return NONE
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def intervals(sums: Sums, mean_over: MeanOver = "truth") -> dict[str, Interval]:
    """An interval for every mean of ``MEANS``, from sums NxK of pictures; NaN for fewer than two pictures."""
    if len(sums.hit) < 2:
        return dict.fromkeys(MEANS, NONE)
    values = means(resample(sums, resample_counts(len(sums.hit))), mean_over)
    return {name: interval(values[name]) for name in MEANS}


def difference_interval(first: Sums, second: Sums, mean_over: MeanOver = "truth") -> Interval:
    """Paired interval of the second's mean IoU minus the first's, on the same pictures in the same order."""
    if len(first.hit) < 2:
        return NONE
    weights = resample_counts(len(first.hit))
    before, after = (means(resample(sums, weights), mean_over)["mean_iou"] for sums in (first, second))
    return interval(after - before)


def intervals_to_dict(values: dict[str, Interval]) -> dict[str, Any]:
    """Plain values: limits by mean, level and method."""
    ends: dict[str, Any] = {name: [nan_to_none(end) for end in pair] for name, pair in values.items()}
    method = f"percentile bootstrap over pictures, {RESAMPLES} resamples, seed {SEED}"
    return ends | {"level": LEVEL, "method": method}
