"""Thirty minutes of mixed use: every answer as before, memory flat, nothing left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks.soak import soak

MINUTES = float(os.environ.get("REFINESEG_SOAK_MINUTES", "30"))


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 300)
def test_soak(tmp_path: Path) -> None:
    done = soak(MINUTES, tmp_path)
    assert min(done.predictions, done.files, done.requests, done.refused) > 10
    assert abs(done.handles_end - done.handles_warm) <= 8
    assert not done.wrong
