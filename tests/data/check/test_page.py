from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from refineseg.data.check import check_data
from refineseg.data.check.check_page import overlay, page, size_histogram, write_page
from refineseg.data.check.dataset_files import CheckedPair, find_files
from tests.data.check.corpus import Corpus, mask_at, save_mask
from tests.data.check.faults import FAULTS

BY_NAME = {fault.name: fault for fault in FAULTS}


class Links(HTMLParser):
    """Every address that a page refers to, and its balance of tags."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_stands_alone(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "a<b>", 0)
    for name in ("a_stray_value", "pair_copied", "image_truncated", "mask_half_the_size"):
        BY_NAME[name].inject(corpus)
    report = check_data(corpus.spec)
    write_page(report, tmp_path / "check.html")
    text = (tmp_path / "check.html").read_text()
    parser = Links()
    parser.feed(text)
    assert not parser.open
    assert parser.found
    assert all(link.startswith("data:image/jpeg;base64,") for link in parser.found)
    assert not re.search(r"https?:|@import|url\(|<script", text)
    assert "prefers-color-scheme: dark" in text
    assert "a<b>" not in text
    for item in report.findings:
        assert f"<code>{item.kind}</code>" in text
    for label in report.classes:
        assert label.name in text


def test_page_of_what_cannot_be_opened() -> None:
    text = page(check_data("nonsense"))
    assert "cannot-open" in text
    assert "Class balance" not in text


def test_overlay_paints_classes_and_marks_the_unknown(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    labels = mask_at(corpus.mask("view000"))
    labels[:] = 1
    labels[0] = 255
    labels[1] = 77
    save_mask(corpus.mask("view000"), labels)
    files = find_files(corpus.spec)
    pair = CheckedPair("train", "view000", corpus.image("view000"), corpus.mask("view000"))
    picture = np.full((120, 160, 3), 100, np.uint8)
    shown = overlay(picture, pair, files)
    assert (shown[0] == 100).all()
    assert (shown[1] == np.array([100 * 0.15 + 255 * 0.85, 15, 100 * 0.15 + 255 * 0.85]).astype(np.uint8)).all()
    assert (shown[2] == (100 + np.array(files.data.label_map.classes[1].color)) // 2).all()


def test_histogram_by_hand() -> None:
    assert size_histogram([(10, 30, 2), (31, 5, 1), (64, 64, 4)]) == [
        (30, 35, 3),
        (35, 40, 0),
        (40, 45, 0),
        (45, 50, 0),
        (50, 55, 0),
        (55, 60, 0),
        (60, 65, 4),
    ]
    sizes = [(300 + 7 * index, 200, index + 1) for index in range(40)]
    assert sum(count for _, _, count in size_histogram(sizes)) == sum(count for _, _, count in sizes)
