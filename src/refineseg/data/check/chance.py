"""Whether suspicious masks are more than false alarms.

A correct mask may fit better elsewhere by accident. Of 3,726 correct masks of VOC 2012 one looks flipped and one
looks shifted; the upper 99 % bound (Clopper and Pearson, 1934) of 1 in 3,726 is 0.0018. Any set has false alarms
at this rate; only more of them are evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from refineseg.data.check.measurements.measurement import PairMeasurement

FALSE_ALARM = 0.002  # upper bound on the rate of false alarms among correct masks
LEVEL = 1e-4  # probability below which chance is ruled out
SAME_SCENE = 12.0  # mean difference in grey levels of thumbnails below which two pictures show one scene


def binomial_tail(count: int, trials: int, share: float = FALSE_ALARM) -> float:
    """Probability of ``count`` or more successes in ``trials`` independent trials of probability ``share``."""
    log_share, log_rest = math.log(share), math.log1p(-share)
    return sum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(found + 1)
            - math.lgamma(trials - found + 1)
            + found * log_share
            + (trials - found) * log_rest
        )
        for found in range(count, trials + 1)
    )


def beyond_chance(suspects: Iterable[PairMeasurement], tested: int) -> bool:
    """Whether there are more suspects among ``tested`` pairs than false alarms explain (one-sided binomial test).

    Frames of one scene are not independent: they count once.
    """
    needed = next((count for count in range(1, tested + 1) if binomial_tail(count, tested) < LEVEL), tested + 1)
    scenes: list[np.ndarray[tuple[int, ...], np.dtype[np.int16]]] = []
    for item in suspects:
        if item.image is None:
            continue
        thumb = item.image.thumb.astype(np.int16)
        if all(np.abs(thumb - other).mean() > SAME_SCENE for other in scenes):
            scenes.append(thumb)
        if len(scenes) >= needed:
            return True
    return False
