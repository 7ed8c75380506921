"""What is imported before there is something to do: each costs a person's time at every call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.cli.common import Table, TextConsole

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


def test_a_picture_is_segmented_without_the_slow_imports(tmp_path: Path) -> None:
    """Importing timm, torchvision or torch's compiler each takes longer than segmenting a picture."""
    Image.fromarray(np.zeros((64, 80, 3), np.uint8)).save(tmp_path / "street.png")
    code = f"""
from refineseg.cli.main import main
try:
    main(["predict", {str(tmp_path / "street.png")!r}, "-o", {str(tmp_path / "out")!r}])
except SystemExit as end:
    assert not end.code, end
import sys
print("IMPORTED", *sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=200)
    imported = set(done.stdout.rpartition("IMPORTED")[2].split())
    assert (tmp_path / "out/masks/street.png").is_file()
    assert "torch" in imported
    slow = {"timm", "torchvision", "torch._dynamo", "torch._inductor", "sympy", "scipy", "pandas", "matplotlib"}
    assert not imported & slow


def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path: Path) -> None:
    """As on Windows where output goes to a file: its encoding lacks most letters."""
    code = (
        "from refineseg.cli import main, common; main.main = lambda: common.console.print('x \\u8def'); main.run()"
    )
    for encoding in ("cp1252", "ascii"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment)
        assert done.stdout.split() == [b"x", b"\\u8def"]


def test_a_narrow_terminal_shows_whole_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    table = Table("network", "backbone")
    table.add_row("refinenet-lw-mbv2", "mobilenetv2_released")
    TextConsole().print(table)
    said = capsys.readouterr().out
    assert "\u2026" not in said
    assert sum(map(str.isalnum, said)) == len("networkbackbonerefinenetlwmbv2mobilenetv2released")
