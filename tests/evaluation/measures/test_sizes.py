"""IoU by object size, by hand and against the plain IoU."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refineseg.evaluation.measures.sizes import SizeCounts
from refineseg.evaluation.metrics import confusion_matrix, scores
from refineseg.labels import IGNORE

pytest.importorskip("scipy")


def test_by_hand() -> None:
    truth = np.zeros((200, 200), np.uint8)
    truth[10:20, 10:20] = 1  # 100 px: small
    truth[50:100, 50:100] = 1  # 2,500 px: medium
    prediction = np.zeros_like(truth)
    prediction[10:20, 10:25] = 1  # finds the small one and adds 50
    prediction[50:100, 60:100] = 1  # finds 2,000 of the medium one
    prediction[150:160, 150:160] = 1  # 100 px where nothing is: counts against small
    counts = SizeCounts.zeros(2)
    counts.add(truth, prediction)
    small, medium, large = counts.iou[:, 1]
    assert small == pytest.approx(100 / (100 + 50 + 100))
    assert medium == pytest.approx(2000 / 2500)
    assert math.isnan(large)
    figures = counts.to_dict(["ground", "thing"])
    assert figures["objects"] == {"small": 1, "medium": 1, "large": 1}
    assert figures["mean_iou"]["small"] == pytest.approx(0.4)
    assert figures["iou"]["large"]["thing"] is None


def test_corners_touch_and_void_is_left_out() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[0:24, 0:24] = 1
    truth[24:48, 24:48] = 1  # by a corner one object of 1,152 px: medium
    prediction = truth.copy()
    truth[60:70] = IGNORE
    prediction[60:70] = 1
    counts = SizeCounts.zeros(2)
    counts.add(truth, prediction)
    assert counts.iou[:, 1].tolist()[1] == 1
    assert counts.objects[:, 1].tolist() == [0, 1, 0]


def test_pixels_add_up_to_those_of_the_plain_iou() -> None:
    draw = np.random.default_rng(0)
    truth = np.kron(draw.integers(0, 3, (12, 16)), np.ones((9, 9))).astype(np.uint8)
    prediction = np.kron(draw.integers(0, 3, (18, 12)), np.ones((6, 12))).astype(np.uint8)
    truth[draw.random(truth.shape) < 0.02] = IGNORE
    counts = SizeCounts.zeros(3)
    counts.add(truth, prediction)
    hit, true, false = counts.counts.sum(1)
    np.testing.assert_allclose(hit / (true + false), scores(confusion_matrix(truth, prediction, 3)).iou)
