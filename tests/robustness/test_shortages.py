"""Commands without enough memory or disk; the whole table is a part of ``make robustness``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.robustness.interruptions import Limit
from tests.robustness.shortages import limit_files, limit_memory, short, shortages

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits processes by setrlimit")


@pytest.mark.parametrize(
    ("command", "limit", "line"),
    [
        ("predict", (limit_memory, 16), "error: memory ran out: free some"),
        ("predict --tile", (limit_files, 1_000), "error: cannot write "),
    ],
)
def test_one_line_and_a_second_run_that_ends_well(
    command: str, limit: tuple[Limit, int], line: str, tmp_path: Path
) -> None:
    outcome = short(command, "little", limit, (tmp_path, tmp_path / "short" / "out"))
    assert not outcome.wrong
    assert outcome.code == 2
    assert line in outcome.said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_without_enough_memory_or_disk(tmp_path: Path) -> None:
    done = list(shortages(tmp_path))
    assert not [(outcome.case.id, outcome.wrong, outcome.said) for outcome in done if outcome.wrong]
