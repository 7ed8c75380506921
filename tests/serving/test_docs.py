"""docs/serving.md: its commands and its client, run against a server; its tables, compared with the code."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.cli.serve import serve
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.serving.request_options import OPTIONS, OUTPUTS
from refineseg.serving.server import KEY
from tests.docs_blocks import PAGES, blocks_of, parse_command
from tests.serving.made import encoded, pixels, tiny

PAGE = PAGES["serving"].read_text(encoding="utf-8")
BLOCKS = [block for block in blocks_of("serving") if block.how == "run"]
ADDRESS = "http://127.0.0.1:8000"
COMMANDS = [words for block in BLOCKS if block.language == "console" for words in block.commands]
KEYED = f"{KEY}="  # what a command begins with that gives a key
PYTHON = [block.code for block in BLOCKS if block.language == "python"]


def served(words: list[str], folder: Path) -> tuple[list[str], str]:
    """A serving command of the page as it is run here: a small model, a free port, this machine only; its key."""
    key = words[0].removeprefix(KEYED) if words[0].startswith(KEYED) else ""
    assert words[bool(key) : bool(key) + 2] == ["refineseg", "serve"]
    parse_command(words[1 + bool(key) :])
    here = ["serve", "--model", str(folder), "--device", "cpu", "--port", "0"]
    return [sys.executable, "-m", "refineseg", *here], key


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address and key of the page's last server, in a process that ends with the tests."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    segmenter = tiny()
    save_model_folder(folder, segmenter.model, segmenter.card)
    servers = [served(words, folder) for words in COMMANDS if words[0] != "curl"]
    command, key = servers[-1]
    assert [bool(key) for _, key in servers] == [False, False, True], "the last has a key"
    environment = {**os.environ, KEY: key}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        too_late = threading.Timer(120, process.kill)
        too_late.start()
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None, "the server did not start"
            yield found[0], key
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            too_late.cancel()
    assert process.returncode == 0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "street.jpg").write_bytes(encoded(pixels(), "JPEG"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("place")
def test_the_commands(address: tuple[str, str]) -> None:
    """Against a server that asks for the key of the page's last command; the others are given it too."""
    if shutil.which("curl") is None:
        pytest.skip("no curl is installed")
    here, key = address
    answers = []
    for line in (words for words in COMMANDS if words[0] == "curl"):
        words = [word.replace(ADDRESS, here) for word in line]
        if not any(key in word for word in line):
            words[1:1] = ["-H", f"Authorization: Bearer {key}"]
        done = subprocess.run([*words, "--silent", "--fail"], capture_output=True, check=True, timeout=60)
        answers.append(done.stdout)
    with Image.open("mask.png") as mask, Image.open("overlay.jpg") as overlay:
        assert (mask.mode, mask.size, overlay.format) == ("P", (56, 40), "JPEG")
    summary, several, keyed = (json.loads(answer) for answer in answers if answer)
    assert summary == keyed
    assert set(several["outputs"]) == {"rle"}


@pytest.mark.usefixtures("place")
def test_the_client(address: tuple[str, str]) -> None:
    here, key = address
    code = PYTHON[0].replace(f'"{ADDRESS}", key=None', f'"{here}", key="{key}"')
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
    for name in (*OPTIONS, *OUTPUTS):
        assert f"`{name}`" in PAGE
    defaults = dict(re.findall(r"^\| `--([\w-]+)` \| (\d+) \|", PAGE, re.MULTILINE))
    known = {name.replace("_", "-"): item.default for name, item in inspect.signature(serve).parameters.items()}
    assert len(defaults) == 7
    assert {name: float(value) for name, value in defaults.items()} == {
        name: float(known[name]) for name in defaults
    }
