"""Label-error suspects: planted errors are found, thin strips and unsure errors are not taken for them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.measures.suspects import Suspects, suspects_of
from refineseg.labels import IGNORE, UInt8
from tests.evaluation.pictures import label_map, make_segmenter
from tests.evaluation.planted import make_planted, overlap


def probabilities(
    prediction: UInt8, sure: float, count: int = 3
) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    rest = (1 - sure) / (count - 1)
    return np.where(np.arange(count)[:, None, None] == prediction, sure, rest).astype(np.float16)


def test_at_least_40_of_50_planted_errors_are_among_the_first_100(tmp_path: Path) -> None:
    labels = label_map(6)
    data, planted = make_planted(tmp_path / "data", labels, pictures=25, per_picture=2)
    assert len(planted) == 50
    result = evaluate(make_segmenter(labels, sharpness=25.0), data, measures=("suspects",))
    assert result.scores.pixel_accuracy < 0.95  # far from perfect: hard objects, slivers, planted errors
    ranked = cast(Suspects, result.measures["suspects"]).ranked[:100]
    assert [item.score for item in ranked] == sorted((item.score for item in ranked), reverse=True)
    found = [
        item
        for item in planted
        if any(item.picture == other.picture and overlap(item.box, other.box) > 0.5 for other in ranked)
    ]
    assert len(found) >= 40
    # The hard objects, wrong but not sure, do not crowd the list.
    assert len(ranked) < 60


def test_one_region_by_hand() -> None:
    truth, prediction = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    prediction[5:15, 10:30] = 1  # 200 pixels the model sees and the label does not
    prediction[30, :] = 2  # a strip
    (only,) = suspects_of(truth, prediction, probabilities(prediction, 0.9), picture=7)
    assert (only.picture, only.label, only.predicted, only.area) == (7, 0, 1, 200)
    assert only.box == (5, 10, 15, 30)
    assert only.mask.all()
    assert only.confidence == pytest.approx(0.9, abs=1e-3)  # float16
    assert only.score == pytest.approx(180, abs=0.2)
    assert not suspects_of(truth, prediction, probabilities(prediction, 0.7))
    assert not suspects_of(truth, prediction, probabilities(prediction, 0.9), floor=181)
    truth[:] = IGNORE
    assert not suspects_of(truth, prediction, probabilities(prediction, 0.9))


def test_neighbours_with_other_labels_are_regions_of_their_own() -> None:
    truth, prediction = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    prediction[10:20, 10:20], prediction[10:20, 20:30], prediction[20:30, 10:30] = 1, 2, 1
    truth[20:30, 10:30] = 2
    found = suspects_of(truth, prediction, probabilities(prediction, 0.95))
    assert sorted((item.label, item.predicted) for item in found) == [(0, 1), (0, 2), (2, 1)]
    assert sum(item.area for item in found) >= 0.85 * 400  # but for a line between them


def test_only_the_strongest_are_kept() -> None:
    kept, everything = Suspects(most=3), Suspects(most=1000)
    for seed in range(10):
        draw = np.random.default_rng(seed)
        truth, prediction = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
        for row in range(4):
            side = int(draw.integers(5, 15))
            prediction[row * 16 : row * 16 + side, 5 : 5 + side] = 1
        for suspects in (kept, everything):
            suspects.add(truth, prediction, probabilities(prediction, 0.9))
    assert (kept.pictures, len(everything.ranked)) == (10, 40)
    assert kept.ranked == everything.ranked[:3]
    figures = kept.to_dict(["a", "b", "c"])["regions"]
    assert [entry["area"] for entry in figures] == sorted((entry["area"] for entry in figures), reverse=True)
    assert figures[0]["label"] == "a"
