"""Commands ended at random moments; the whole table is a part of ``make robustness``."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tests.robustness.interruptions import goes_on, hidden, interruptions, second_runs


def test_an_unpacking_that_is_ended_goes_on(tmp_path: Path) -> None:
    done = list(interruptions(tmp_path, random.Random(0), times=1, only="data prepare"))
    assert len(done) == 2
    assert not [(outcome.case.id, outcome.wrong, outcome.said) for outcome in done if outcome.wrong]


def test_only_what_the_next_run_goes_on_with_may_be_left(tmp_path: Path) -> None:
    for name in (".p0.part", ".p1.part", ".p2.tmp"):
        (tmp_path / name).mkdir()
    for name in (".p0.part", ".p2.tmp"):
        (tmp_path / name / "state.json").write_text("{}")
    assert [path.name for path in sorted(hidden(tmp_path)) if not goes_on(path)] == [".p1.part", ".p2.tmp"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at locks in /proc")
def test_a_second_run_into_an_output_is_refused(tmp_path: Path) -> None:
    (outcome,) = second_runs(tmp_path, only="data import")
    assert not outcome.wrong
    assert "another run is writing to" in outcome.said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_that_is_ended(tmp_path: Path) -> None:
    done = list(interruptions(tmp_path, random.Random(1)))
    assert len(done) == 4 * 7
    assert not [(outcome.case.id, outcome.wrong, outcome.said) for outcome in done if outcome.wrong]
