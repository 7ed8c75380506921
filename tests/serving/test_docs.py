"""docs/serving.md: its commands and its client, run against a server; its tables, compared with the code."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.cli.serve import serve
from refineseg.serving.options import NAMES, OUTPUTS
from tests.serving.browser import listening
from tests.serving.made import encoded, pixels, tiny

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
KEY = "choose-a-long-one"
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CURL = [line for code in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in code.splitlines()]


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "street.jpg").write_bytes(encoded(pixels(), "JPEG"))
    monkeypatch.chdir(tmp_path)
    with listening(tiny(), key=KEY) as address:
        yield address.rstrip("/")


def test_the_commands(address: str) -> None:
    """Against a server that asks for the key of the page's last command; the others are given it too."""
    if shutil.which("curl") is None:
        pytest.skip("no curl is installed")
    answers = []
    for line in CURL:
        if not line.startswith("curl "):
            assert line.split()[:3] == [f"REFINESEG_API_KEY={KEY}", "refineseg", "serve"]
            continue
        words = [word.replace(ADDRESS, address) for word in shlex.split(line)]
        if KEY not in line:
            words[1:1] = ["-H", f"Authorization: Bearer {KEY}"]
        done = subprocess.run([*words, "--silent", "--fail"], capture_output=True, check=True, timeout=60)
        answers.append(done.stdout)
    with Image.open("mask.png") as mask, Image.open("overlay.jpg") as overlay:
        assert (mask.mode, mask.size, overlay.format) == ("P", (56, 40), "JPEG")
    summary, several, keyed = (json.loads(answer) for answer in answers if answer)
    assert summary == keyed
    assert set(several["outputs"]) == {"rle"}


def test_the_client(address: str) -> None:
    code = PYTHON[0].replace(f'"{ADDRESS}", key=None', f'"{address}", key="{KEY}"')
    names: dict[str, object] = {}
    exec(compile(code, "docs/serving.md", "exec"), names)
    shares = names["shares"]
    assert isinstance(shares, dict)
    with Image.open("mask.png") as mask:
        counts = np.bincount(np.array(mask).ravel())
    assert max(shares.values()) == pytest.approx(counts.max() / (56 * 40), abs=1e-6)
    Path("notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="expected a picture of PNG"):
        names["segment"]("notes.txt")  # type: ignore[operator]


def test_the_tables() -> None:
    for name in (*NAMES, *OUTPUTS):
        assert f"`{name}`" in PAGE
    defaults = dict(re.findall(r"^\| `--([\w-]+)` \| (\d+) \|", PAGE, re.MULTILINE))
    known = {name.replace("_", "-"): item.default for name, item in inspect.signature(serve).parameters.items()}
    assert len(defaults) == 7
    assert {name: float(value) for name, value in defaults.items()} == {
        name: float(known[name]) for name in defaults
    }
