"""Requests made from the OpenAPI description by schemathesis: the server does what it says, whatever is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refineseg.serving.limits import Limits
from tests.serving.browser import listening
from tests.serving.made import tiny

pytest.importorskip("schemathesis")

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key"


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, KEY], ids=["open", "locked"])
def test_schemathesis_runs_clean(key: str | None, tmp_path: Path) -> None:
    """All its checks and phases: examples, coverage of every keyword, fuzzing, sequences of requests."""
    # Its command line, as a user would run it; in a folder of its own, since it keeps a data base.
    command = [sys.executable, "-m", "schemathesis.cli", "run", "--max-examples=60", "--seed=1", "--no-color"]
    header = [f"--header=Authorization: Bearer {KEY}"] if key else []
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    hooks = {"PYTHONPATH": paths, "SCHEMATHESIS_HOOKS": "tests.serving.pictures_for_schema"}
    with listening(tiny(), Limits(bytes=200_000, pixels=2_000_000, memory=1 << 30), key) as address:
        done = subprocess.run(
            [*command, *header, f"{address}openapi.json"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **hooks},
            timeout=280,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout
