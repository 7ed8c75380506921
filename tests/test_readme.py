"""The README's code runs as it stands: Python blocks whole, commands with small data in place of real data."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from refineseg.cli.main import main
from refineseg.model.bundled import bundled_models
from tests.data.made import made_pair, make_camvid

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    line.removeprefix("$ ")
    for language, code in BLOCKS
    if language == "console"
    for line in code.replace("\\\n", " ").splitlines()
    if line.startswith("$ refineseg ")
]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the pictures that the README speaks of."""
    (tmp_path / "photos").mkdir()
    for name in ("street.jpg", "photos/a.jpg", "photos/b.png"):
        Image.fromarray(made_pair(1, 11, (90, 120))[0]).save(tmp_path / name)
    make_camvid(tmp_path / "data", train=8, val=2)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_is_code() -> None:
    assert PYTHON
    assert {shlex.split(command)[1] for command in COMMANDS} >= {"predict", "evaluate", "train"}


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python(number: int, workplace: Path) -> None:
    exec(compile(PYTHON[number], f"README block {number}", "exec"), {})
    assert workplace.is_dir()


@pytest.mark.parametrize("command", [command for command in COMMANDS if shlex.split(command)[1] != "serve"])
def test_commands(command: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(re.sub(r"camvid:\S+", f"camvid:{workplace / 'data' / 'camvid'}", command))[1:]
    if words[0] == "train":  # the same options, two small steps
        if "--backbone-weights" in words:
            del words[words.index("--backbone-weights") : words.index("--backbone-weights") + 2]
        words += ["--steps", "2", "--crop", "32", "--workers", "0", "--skip-check"]
    words = [word.replace("runs/camvid/best", "camvid") for word in words]
    assert main(words) == 0, capsys.readouterr().err


def test_the_server(workplace: Path) -> None:
    """The README's server starts, answers its curl command, and ends in order when told to."""
    (command,) = [command for command in COMMANDS if shlex.split(command)[1] == "serve"]
    words = re.sub(r"--port \d+", "--port 0", command).split()[1:]
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
    tree = next(code for language, code in BLOCKS if language == "text" and "src/refineseg/" in code)
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
