"""docs/export.md: its code runs, on a small network in place of the bundled one; its commands run too (slow)."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from refineseg.cli.main import main
from refineseg.deploy.report import ExportReport
from tests.data.made import made_pair, make_camvid

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ (refineseg .*)$", PAGE, re.MULTILINE)


@pytest.mark.slow
def test_the_code(
    exported: tuple[Path, ExportReport], model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(made_pair(1, 11, (90, 120))[0]).save("street.jpg")
    shutil.copy(exported[0], "camvid.onnx")
    assert len(BLOCKS) == 3
    for number, code in enumerate(BLOCKS):
        exec(compile(code.replace('"camvid"', repr(str(model_folder))), f"block {number}", "exec"), {})
    assert Path("camvid.pt2.report.md").is_file()
    assert Path("out/probs/street.npz").is_file()


@pytest.mark.slow
def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(made_pair(1, 11, (90, 120))[0]).save("street.jpg")
    make_camvid(tmp_path, train=2, val=2)
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        words = shlex.split(re.sub(r"camvid:\S+", f"camvid:{tmp_path / 'camvid'}", command))[1:]
        if "--int8" not in words:  # test_export has it, with real pictures
            assert main(words) == 0, capsys.readouterr().err
