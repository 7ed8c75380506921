"""The page of browser/ from a disk in Chromium: onnxruntime-web gives the labels of the network's file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser.models import write_network
from numpy.typing import NDArray
from PIL import Image

from refineseg.colors import class_colors
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.receptive_field import probe_picture
from tests.deploy import made
from tests.serving.browser import chromium

pytestmark = pytest.mark.slow  # a minute, where npm has installed the page's packages
HERE = Path(__file__).parents[2] / "browser"
NAMES = [item.name for item in made.LABELS.classes]
COLORS = class_colors(NAMES)
PICTURE = probe_picture(90, 128)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    model = made.small()
    for value in model.parameters():
        value.data = value.half().float()  # as in bundled models
    found = made.segmenter(model)
    found.runner.__dict__["overlap"] = 96
    return found


@pytest.fixture(scope="module")
def folder(segmenter: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, built with a small network."""
    if not (HERE / "node_modules").is_dir():
        pytest.skip("no browser/node_modules: npm ci --prefix browser")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("page")
    write_network(segmenter, folder / "models" / "small.onnx")
    classes = [{"name": n, "color": c, "background": n == "sky"} for n, c in zip(NAMES, COLORS, strict=True)]
    (folder / "models" / "small.json").write_text(json.dumps({"classes": classes, "licence": "CC0"}))
    subprocess.run(["node", str(HERE / "build.mjs"), str(folder)], check=True, capture_output=True, timeout=100)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Any]:
    """The page on a phone's screen; at the end no script has failed and nothing came from elsewhere."""
    asked: list[str] = []
    troubles: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(120_000)  # of a machine that others use too
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.goto((folder / "index.html").as_uri())
        yield page
    assert troubles == []
    assert [url for url in asked if not url.startswith((folder.as_uri(), "blob:null/"))] == []


def choose(page: Any, name: str, content: bytes) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": content})
    page.wait_for_function("!document.querySelector('[data-busy]')")


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def canvas(page: Any) -> NDArray[np.uint8]:
    """The classes as they are drawn, HxWx4."""
    height, width, values = page.evaluate(
        """() => { const canvas = document.getElementById("classes");
        const { data, height, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return [height, width, Array.from(data)]; }"""
    )
    return np.asarray(values, np.uint8).reshape(height, width, 4)


def test_the_classes_of_a_picture(page: Any, segmenter: Segmenter) -> None:
    choose(page, "street.png", png(PICTURE))
    assert page.inner_text("#error") == ""
    assert "street.png: segmented in" in page.inner_text("#status")
    expected = segmenter.predict(PICTURE)
    drawn = canvas(page)
    assert drawn.shape[:2] == PICTURE.shape[:2]
    colors = np.asarray([(*c, 255) for c in COLORS], np.uint8)
    colors[0] = 0  # a background stays clear
    assert (drawn == colors[expected.labels]).all(-1).mean() > 0.999

    rows = page.locator("#legend li").all_inner_texts()
    shares = {row.split("\n")[0]: float(row.split("\n")[1].strip("<% ")) / 100 for row in rows}
    assert len(shares) >= 4
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    for name, share in shares.items():
        assert share == pytest.approx(expected.class_shares[name], abs=0.002)
    described = page.get_attribute("#stage", "aria-label")
    assert described.startswith(f"street.png: {rows[0].split(chr(10))[0]} ")


def test_a_file_that_is_no_picture_says_so_and_the_next_one_works(page: Any) -> None:
    choose(page, "notes.txt", b"no picture")
    assert "notes.txt is not a picture that this browser can read" in page.inner_text("#error")
    choose(page, "again.png", png(PICTURE))
    assert page.inner_text("#error") == ""
    assert "again.png: segmented" in page.inner_text("#status")


def test_large_pictures_are_seen_smaller(page: Any) -> None:
    choose(page, "large.png", png(np.full((40, 1280, 3), 90, np.uint8)))
    assert "at 640 x 20 pixels" in page.inner_text("#status")
    choose(page, "thin.png", png(np.full((1, 2000, 3), 90, np.uint8)))
    assert "at 640 x 1 pixels" in page.inner_text("#status")


def test_it_works_by_keyboard_and_fits_a_phone(page: Any) -> None:
    page.keyboard.press("Tab")
    reached = []
    for _ in range(3):
        reached.append(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert reached == ["model", "file", "opacity"]
    page.focus("#opacity")
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.getElementById('classes')).opacity") == "0"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_weights_of_16_bits_stay_so(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    write_network(segmenter, path)
    assert path.stat().st_size < 0.65 * 4 * sum(value.numel() for value in segmenter.model.parameters())
