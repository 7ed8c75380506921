"""The pages in the system's Chromium: long names of files and classes stay within the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refineseg.evaluation.report import sections
from refineseg.evaluation.report.style import STYLE
from refineseg.html import document, header, section
from refineseg.labels import LabelMap
from tests.serving.browser import chromium

LONG = "x" * 180


@pytest.mark.parametrize("width", [1280, 375])
def test_long_names_are_broken(tmp_path: Path, width: int) -> None:
    label_map = LabelMap.from_names(["road", LONG])
    views = {view: np.zeros((30, 40, 3), np.uint8) for view in ("picture", "truth", "prediction", "errors")}
    words = f'<ol class="words"><li>{sections.chip(label_map, 1)} is predicted as road</li></ol>'
    listing = f'<div class="card matrix"><div></div><div><h3>Largest confusions</h3>{words}</div></div>'
    body = header("train", LONG, LONG) + sections.key_of_classes(label_map, [0, 1])
    body += section("Pictures", "", sections.picture_article(LONG, "80 % correct", views)) + listing
    file = tmp_path / "page.html"
    file.write_text(document(LONG, body, STYLE), encoding="utf-8")
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
