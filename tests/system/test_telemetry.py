"""No package sends statistics about its use."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from refineseg.system.telemetry import OFF, send_nothing

OPEN = """
import refineseg
from refineseg.inference.runners.exported import open_exported
open_exported("camvid-fast-int8")
"""


def test_what_the_user_has_said_stays() -> None:
    given = {"RAY_USAGE_STATS_ENABLED": "1"}
    send_nothing(given)
    assert given == OFF | {"RAY_USAGE_STATS_ENABLED": "1"}


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
def test_onnxruntime_keeps_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """It would keep a number of the machine and what it has not sent yet."""
    clean = {name: text for name, text in os.environ.items() if name not in OFF}
    hiding = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")  # there it is off anyway
    clean = {name: text for name, text in clean.items() if name not in hiding}
    homes = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", OPEN], check=True, env=clean | homes)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
