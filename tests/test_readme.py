"""The README's code runs as it stands: Python blocks whole, commands with small data in place of real data."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from refineseg.cli.main import main
from refineseg.model.folders.find_model import bundled_models
from tests.data.made import made_pair, make_camvid, make_folder
from tests.docs_blocks import blocks_of, small

README = Path(__file__).parents[1] / "README.md"
BLOCKS = blocks_of("README")
PYTHON = [block.code for block in BLOCKS if block.language == "python"]
COMMANDS = [
    words for block in BLOCKS if block.language == "console" for words in block.commands if words[0] == "refineseg"
]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures that the README speaks of."""
    (tmp_path / "photos").mkdir()
    for name in ("street.jpg", "photos/a.jpg", "photos/b.png"):
        Image.fromarray(made_pair(1, 11, (90, 120))[0]).save(tmp_path / name)
    make_camvid(tmp_path / "data", train=8, val=2)
    make_folder(tmp_path / "own", 6).rename(tmp_path / "mydata")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_code() -> None:
    assert PYTHON
    assert {words[1] for words in COMMANDS} >= {"predict", "evaluate", "train"}


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python(number: int, workplace: Path) -> None:
    exec(compile(PYTHON[number], f"README block {number}", "exec"), {})
    assert workplace.is_dir()


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[1] != "serve"], ids=" ".join)
def test_commands(words: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = [re.sub(r"camvid:\S+", f"camvid:{workplace / 'data' / 'camvid'}", word) for word in small(words[1:])]
    here = [word.replace("runs/mine/best", "camvid") for word in here]
    assert main(here) == 0, capsys.readouterr().err


def test_the_server(workplace: Path) -> None:
    """The README's server starts, answers its curl command, and ends in order when told to."""
    (words,) = [list(words[1:]) for words in COMMANDS if words[1] == "serve"]
    words[words.index("--port") + 1] = "0"
    asked = re.search(
        r"curl --data-binary @street.jpg 'http://127.0.0.1:8000(\S+)' -o mask.png", README.read_text()
    )
    assert asked is not None
    with subprocess.Popen(
        [sys.executable, "-m", "refineseg", *words], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert address is not None
            picture = (workplace / "street.jpg").read_bytes()
            with urllib.request.urlopen(f"{address[0]}{asked[1]}", picture, timeout=60) as answer:
                assert answer.read(4) == b"\x89PNG"
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 0


def test_every_folder_of_the_tree_exists() -> None:
    tree = next(b.code for b in BLOCKS if b.language == "text" and "src/refineseg/" in b.code)
    root = README.parent
    for line in tree.splitlines():
        name = line.split()[0]
        place = root / name if not line.startswith(" ") else root / "src" / "refineseg" / name
        assert place.exists(), line


def test_the_numbers_are_the_models() -> None:
    """The score in the README is the one that the bundled model carries."""
    import json

    score = json.loads((bundled_models()["camvid"] / "config.json").read_text())["scores"][0]["mean_iou"]
    assert f"{score:.3f}" in README.read_text(encoding="utf-8")
