"""Names that hold markup, escapes, brackets, formulas or paths are text: on every page, in every table and file.

One model, one data set and pictures with such names go through the commands that show them; the pages are opened
in the system's Chromium, where any dialog, request or error of a script fails the test.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scripts import demo

from refineseg.cli import common
from refineseg.cli.main import main
from refineseg.config import ModelConfig
from refineseg.config.yaml import to_yaml
from refineseg.inference.predictor import Segmenter
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.describe import describe
from refineseg.model.drawing import draw
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import load_model_folder, save_model_folder
from refineseg.system.text import escaped
from tests.data.made import made_pair
from tests.model.filled import fill
from tests.serving.browser import chromium, listening, ready
from tests.serving.made import encoded

SCRIPTED = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CLASSES = [
    "background",
    SCRIPTED,
    "\"'><svg onload=alert(3)>",
    "[red]a[/red][link=http://evil.test]b[/link] :bomb:",
    "\x1b[31mred\x1b]0;title\x07\x9b2J\u202elater",
    "=cmd|'/C calc'!A1",
    "+1-1",
    "@SUM(1)",
    "../../../etc/passwd",
    "</title></style><b>",
    "{{7*7}}${7*7}",
]
NAMES = [
    SCRIPTED.replace("/", "_"),
    "[bold]\x1b[31m\n=1+1",
    "\"'><svg onload=alert(4)>.x",
    "@a,+b;-c",
    "<script>alert(5)<b>",
]
TERMINAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")  # all but tabs and line ends


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model/, data/ with splits, all of hostile names."""
    root = tmp_path_factory.mktemp("names")
    network = create_model(
        "refinenet-lw-mbv2", len(CLASSES), backbone="test_efficientnet", width=8, coarse_width=8
    )
    fill(network)
    labels = LabelMap.from_names(CLASSES)
    card = ModelCard(SCRIPTED + "/../../x", labels, licence=SCRIPTED, provenance={SCRIPTED: SCRIPTED})
    save_model_folder(root / "model", network, card)
    for kind in ("images", "masks"):
        (root / "data" / kind).mkdir(parents=True)
    for index, name in enumerate(NAMES):
        picture, mask = made_pair(index, len(CLASSES), (64, 80))
        Image.fromarray(picture).save(root / "data/images" / f"{name}.png")
        Image.fromarray(mask).save(root / "data/masks" / f"{name}.png")
    (root / "data/labels.yaml").write_text(to_yaml(labels.to_dict()))
    (root / "data/train.txt").write_text(f"{NAMES[3]}\n")
    (root / "data/val.txt").write_text(f"{NAMES[4]}\n")  # lists take no blanks
    return root


@pytest.fixture(scope="module")
def pages(place: Path) -> Path:
    """check.html, report/ and the demo's page, made of them."""
    folder, data = place / "pages", f"folder:{place / 'data'}"
    shown("check", data, "--html", folder / "check.html")
    text = shown("evaluate", "-m", place / "model", "-d", data, "--report", folder / "report")
    missing = [name for name in CLASSES if escaped(name) not in text]
    assert not missing, ascii(text)
    words = ["demo.py", "-o", str(folder / "demo"), "-m", str(place / "model"), str(place / "data/images")]
    with pytest.MonkeyPatch.context() as patched, captured() as said:
        patched.setattr(sys, "argv", words)
        assert demo.main() == 0
    assert not TERMINAL.search(said.getvalue())
    preset = ModelConfig(preset=SCRIPTED, backbone="test_efficientnet", num_classes=3)
    (folder / "drawing.svg").write_text(draw(describe(preset, (64, 64))))
    assert all(folder in path.parents for path in place.rglob("index.html"))
    return folder


@contextmanager
def captured() -> Iterator[io.StringIO]:
    """What is printed, on either stream."""
    stream = io.StringIO()
    with redirect_stdout(stream), redirect_stderr(stream), pytest.MonkeyPatch.context() as patched:
        patched.setattr(common.console, "_width", 400)  # so that no cell is broken into lines
        yield stream


def shown(*words: object) -> str:
    """What a command prints; nothing in it may speak to the terminal."""
    with captured() as said:
        code = main([str(word) for word in words])
    text = said.getvalue()
    assert code in (0, 2), text
    assert "Traceback" not in text
    assert not TERMINAL.search(text), ascii(text)
    return text


def test_terminal_and_files(place: Path, pages: Path, tmp_path: Path) -> None:
    model, images = place / "model", place / "data/images"
    text = shown("predict", images, "-o", tmp_path / "out", "-m", model)
    assert r"[bold]\x1b[31m\n=1+1.png" in text
    assert len(list((tmp_path / "out/masks").iterdir())) == len(NAMES)
    assert "[bold]" in shown("check", f"folder:{place / 'data'}")
    shown("predict", images / NAMES[1], "-o", tmp_path / "no")
    shown("data", "export", tmp_path / "out", "-o", tmp_path / "coco", "--format", "coco", "-m", model)
    shown("data", "import", tmp_path / "coco", "-o", tmp_path / "back", "--images", images)
    for path in (*tmp_path.rglob("*.csv"), *place.rglob("*.csv")):
        assert not [cell for row in csv.reader(path.open()) for cell in row if cell[:1] in tuple("=+-@")]
    card = re.sub(r"^```.*?^```$", "", (model / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    assert r"\<script\>" in card
    assert not re.search(r"(?<!\\)[<\[]", card)


def test_pages(pages: Path, place: Path) -> None:
    """Nothing asks, runs, fetches or fails; the names are there to read."""
    found = sorted(path for path in pages.rglob("*") if path.suffix in (".html", ".svg"))
    assert [path.name for path in found] == ["check.html", "index.html", "drawing.svg", "index.html"]
    segmenter = Segmenter.from_network(*load_model_folder(place / "model"), device="cpu")
    with chromium() as browser, listening(segmenter) as address:
        for url in [path.as_uri() for path in found] + [address]:
            assert troubles_of(browser, url, url == address) == [], url


def troubles_of(browser: Any, url: str, served: bool) -> list[str]:
    """What a page asked, fetched or failed at; with a picture given to it if it is the server's."""
    page, troubles = browser.new_page(), list[str]()

    def asked(dialog: Any) -> None:
        troubles.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", asked)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: None if harmless(request.url, url) else troubles.append(request.url))
    page.goto(url)
    if served:
        picture = encoded(made_pair(0, len(CLASSES), (64, 80))[0])
        page.set_input_files("#files", {"name": NAMES[0], "mimeType": "", "buffer": picture})
        ready(page, 1)
    page.wait_for_timeout(300)  # what a script would do a moment later
    words = page.inner_text("body") if not url.endswith(".svg") else page.text_content("svg")
    assert any(name in words for name in (SCRIPTED, NAMES[0], NAMES[4])), url
    assert page.evaluate("document.querySelectorAll('[onerror], [onload]').length") == 0
    page.close()
    return troubles


def harmless(url: str, own: str) -> bool:
    """The page itself, what lies beside it on the server, and what it carries."""
    return url.startswith((own, f"blob:{own}", "data:"))
