"""Where the data that may not enter the repository lies; tests that need it skip where it is absent."""

from __future__ import annotations

from pathlib import Path

import pytest


def shared(*parts: str) -> Path:
    """A path under ../shared; skips the test where that is not there."""
    path = Path(__file__).resolve().parents[2] / "shared" / Path(*parts)
    if not path.exists():
        pytest.skip(f"../shared is not here: no {'/'.join(parts)}")
    return path
