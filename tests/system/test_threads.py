"""Threads that wait give the processor up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from refineseg.system.threads import SPINS, wait_briefly


def test_what_the_user_has_said_stays() -> None:
    for own in ({"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "5"}):
        given = dict(own)
        wait_briefly(given)
        assert given == own
    given = {}
    wait_briefly(given)
    assert given == {"GOMP_SPINCOUNT": SPINS}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="GNU's OpenMP comes with torch's Linux wheels")
def test_it_is_in_force_when_torch_comes() -> None:
    """As OpenMP itself says, which prints its settings when it is loaded."""
    clean = {name: text for name, text in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", "import refineseg, torch"],
        capture_output=True,
        text=True,
        check=True,
        env=clean | {"OMP_DISPLAY_ENV": "verbose"},
    )
    if "GOMP" not in done.stderr:
        pytest.skip("this torch has another OpenMP")
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr
