"""What is imported before there is something to do: each costs a person's time at every call."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "numpy", "matplotlib", "PIL", "lightning_fabric", "yaml")


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import refineseg", set()),
        ("from refineseg.cli.main import main; main(['--help'])", set()),
        ("from refineseg.cli.main import main; main(['predict', '--help'])", set()),
        ("from refineseg.cli.main import main; main(['--version'])", set()),
        # One clear line for a missing file comes before torch.
        ("from refineseg.inference.batch import find_inputs", {"numpy", "PIL", "yaml"}),
    ],
)
def test_nothing_heavy_is_imported_too_early(code: str, allowed: set[str]) -> None:
    report = "; import sys; print('IMPORTED', *sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True, timeout=200
    )
    imported = set(done.stdout.rpartition("IMPORTED")[2].split())
    assert not (imported & set(HEAVY)) - allowed
