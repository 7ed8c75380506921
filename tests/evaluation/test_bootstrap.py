"""Bootstrap intervals: against a slow loop, their coverage, pairing."""

from __future__ import annotations

import numpy as np
import pytest

from refineseg.evaluation import bootstrap
from refineseg.evaluation.bootstrap import difference_interval, intervals, intervals_to_dict, resample_counts
from refineseg.evaluation.metrics import MEANS, Sums, means


def draw_sums(draw: np.random.Generator, pictures: int, skill: float = 0.8, num_classes: int = 4) -> Sums:
    """Pictures whose difficulty and content vary; classes are confused with each other at random."""
    true = draw.integers(50, 1000, (pictures, num_classes)).astype(float)
    share = np.clip(skill + draw.normal(0, 0.15, (pictures, 1)) + np.linspace(-0.1, 0.1, num_classes), 0, 1)
    hit = np.floor(true * share)
    false = (true - hit).sum(1, keepdims=True) * draw.dirichlet(np.ones(num_classes), pictures)
    return Sums(hit, true, hit + false)


def test_equal_to_resampling_one_by_one() -> None:
    sums = draw_sums(np.random.default_rng(0), 7)
    values = []
    for weights in resample_counts(7):
        order = np.repeat(np.arange(7), weights.astype(int))
        total = Sums(*(part[order].sum(0) for part in sums))
        values.append(float(means(total)["mean_iou"]))
    expected = np.quantile(values, [0.025, 0.975])
    np.testing.assert_allclose(intervals(sums)["mean_iou"], expected)


def test_same_seed_same_interval_and_every_mean_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = draw_sums(np.random.default_rng(1), 30)
    first = intervals(sums)
    assert first == intervals(sums)
    monkeypatch.setattr(bootstrap, "SEED", 1)
    assert first != intervals(sums)
    assert set(first) == set(MEANS)
    total = Sums(*(part.sum(0) for part in sums))
    for name, (low, high) in first.items():
        assert low < float(means(total)[name]) < high


def test_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interval of 60 pictures holds the score of the whole population about 95 times in 100."""
    draw = np.random.default_rng(2)
    whole = draw_sums(draw, 200_000)
    truth = float(means(Sums(*(part.sum(0) for part in whole)))["mean_iou"])
    held = 0
    monkeypatch.setattr(bootstrap, "RESAMPLES", 300)
    for trial in range(300):
        monkeypatch.setattr(bootstrap, "SEED", trial)
        low, high = intervals(draw_sums(draw, 60))["mean_iou"]
        held += low <= truth <= high
    assert 0.90 <= held / 300 <= 0.985


def test_pairing_sees_a_small_steady_gain() -> None:
    sums = draw_sums(np.random.default_rng(3), 50)
    gain = np.minimum(sums.hit + 5, sums.true)
    better = Sums(gain, sums.true, sums.predicted)
    low, high = difference_interval(sums, better)
    assert low > 0
    wide = intervals(sums)["mean_iou"]
    assert high - low < (wide[1] - wide[0]) / 5
    assert difference_interval(better, sums)[1] < 0
    assert difference_interval(sums, sums) == (0, 0)


def test_one_picture_has_no_interval() -> None:
    sums = draw_sums(np.random.default_rng(4), 1)
    assert intervals_to_dict(intervals(sums))["mean_iou"] == [None, None]
    assert np.isnan(difference_interval(sums, sums)).all()
