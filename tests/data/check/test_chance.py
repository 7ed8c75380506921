"""The test that decides whether guesses about single pictures say something about the set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from refineseg.data.check import check_data
from refineseg.data.check.chance import FALSE_ALARM, beyond_chance, binomial_tail
from refineseg.data.check.dataset_files import CheckedPair
from refineseg.data.check.measurements.measurement import ImageMeasurement, PairMeasurement


def suspect(grey: int) -> PairMeasurement:
    thumb = np.full((16, 16), grey, np.uint8)
    image = ImageMeasurement((160, 120), "RGB", 1, b"", thumb, 0, blank=False)
    return PairMeasurement(CheckedPair("train", str(grey), Path(f"{grey}.png"), None), image)


def test_tail_by_hand() -> None:
    assert binomial_tail(0, 3, 0.5) == pytest.approx(1.0)
    assert binomial_tail(1, 3, 0.5) == pytest.approx(7 / 8)
    assert binomial_tail(3, 3, 0.5) == pytest.approx(1 / 8)
    assert binomial_tail(1, 25) == pytest.approx(1 - (1 - FALSE_ALARM) ** 25)


def test_one_suspect_is_never_enough_and_few_of_few_are() -> None:
    for tested in (1, 25, 3726):
        assert not beyond_chance([suspect(0)], tested)
    assert beyond_chance([suspect(0), suspect(50)], 2)  # 0.002 squared
    assert not beyond_chance([suspect(0), suspect(50)], 25)
    assert beyond_chance([suspect(0), suspect(50), suspect(100)], 25)


def test_frames_of_one_scene_count_once() -> None:
    assert not beyond_chance([suspect(100 + step % 5) for step in range(20)], 25)


@pytest.mark.slow
def test_no_alarm_on_voc() -> None:
    root = os.environ.get("REFINESEG_TEST_VOC")
    if root is None:
        pytest.skip("REFINESEG_TEST_VOC does not name the folder that ../shared/tools/voc_subset.py makes")
    report = check_data(f"voc2012:{root}")
    assert report.checked == 3726
    assert (*report.errors, *report.warnings) == ()
