"""The report: what is shown, that the page stands alone, and that it agrees with the figures."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data.dataset import SegmentationData
from refineseg.errors import InputError
from refineseg.evaluation.compare import compare, read_scored
from refineseg.evaluation.evaluate import Evaluation, evaluate
from refineseg.evaluation.report.evaluation_report import (
    MEASURES,
    chosen_pictures,
    make_report,
    with_report,
)
from refineseg.evaluation.report.page import page, write_report
from refineseg.labels import IGNORE, LabelMap
from tests.evaluation.pictures import label_map, make_data, make_segmenter
from tests.evaluation.planted import make_planted

LABELS = label_map(5)


class Tags(HTMLParser):
    """Addresses, balance of tags, and the words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.titles: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.titles.append(data.strip())
        if not {"style", "script"} & set(self.open):
            self.words.append(data)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, SegmentationData]:
    data, _ = make_planted(tmp_path_factory.mktemp("report") / "data", LABELS, pictures=12, per_picture=2)
    return evaluate(make_segmenter(LABELS, 25.0), data, measures=MEASURES), data


def test_the_page_stands_alone_and_says_what_the_figures_say(
    scored: tuple[Evaluation, SegmentationData], tmp_path: Path
) -> None:
    evaluation, data = scored
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "mine.txt").write_text("stays")
    path = write_report(folder, evaluation, make_segmenter(LABELS, 25.0), data, "a <b> model")
    assert sorted(item.name for item in folder.iterdir()) == ["evaluation.json", "index.html", "mine.txt"]
    text = path.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert [title for title in tags.titles if title] == [
        "Classes",
        "Confusion matrix",
        "Confidence",
        "Outline against interior",
        "Pictures",
        "Label-error suspects",
    ]
    # 9 pictures of 4 views, 24 suspects of 2, nothing from elsewhere; each is a picture of the size promised.
    assert len(tags.addresses) == 9 * 4 + 24 * 2
    for address in tags.addresses:
        head, content = address.split(",")
        assert head == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(content))).size) <= 480
    assert "://" not in text
    assert "url(" not in text
    words = unescape(" ".join("".join(tags.words).replace("\u202f", " ").split()))
    assert "a <b> model on planted val" in words
    assert f"Mean IoU{100 * evaluation.scores.mean_iou:.1f} %" in words
    low, high = evaluation.intervals()["mean_iou"]
    assert f"interval {100 * low:.1f} % to {100 * high:.1f} %" in words
    assert evaluation.protocol.describe() in words
    figures = json.loads((folder / "evaluation.json").read_text())
    assert figures["mean_iou"] == evaluation.scores.mean_iou
    assert f"ECE {100 * figures['calibration']['ece']:.1f} %" in words
    near, far = (100 * figures["distance"][f"{name}_accuracy"] for name in ("boundary", "interior"))
    assert f"{near:.1f} % correct within 5 pixels of an outline, {far:.1f} % farther inside" in words
    first = figures["suspects"]["regions"][0]
    assert f"1. label {first['label']}, model {first['predicted']} {100 * first['confidence']:.0f} %" in words
    kept = read_scored(folder / "evaluation.json")
    assert compare(kept, kept).second.pictures.mean_iou("truth") == pytest.approx(figures["mean_iou"])


def test_worst_and_median_pictures() -> None:
    scores = np.array([0.9, 0.1, np.nan, 0.5, 0.2, 0.6, 0.7, 0.3])
    assert chosen_pictures(scores, worst=2, median=3) == {"worst": [1, 4], "median": [7, 3, 5]}
    assert chosen_pictures(scores[:2], worst=6, median=3) == {"worst": [1, 0], "median": []}
    assert chosen_pictures(np.array([np.nan])) == {"worst": [], "median": []}


def test_the_worst_picture_is_the_worst(scored: tuple[Evaluation, SegmentationData]) -> None:
    evaluation, data = scored
    report = make_report(evaluation, make_segmenter(LABELS, 25.0), data, "m")
    worst = [item for item in report.pictures if item.group == "worst"]
    values = [evaluation.by_picture.chosen([name]).mean_iou("truth") for name in evaluation.by_picture.names]
    assert [values[item.index] for item in worst] == pytest.approx(sorted(values)[:6])
    assert report.suspects[0][0].score == max(item.score for item, _views in report.suspects)


def test_one_picture_one_class_and_nothing_but_void(tmp_path: Path) -> None:
    single = make_data(tmp_path / "one", ["only"], LABELS)
    result = evaluate(make_segmenter(LABELS), single, measures=MEASURES)
    tags = Tags()
    tags.feed(page(make_report(result, make_segmenter(LABELS), single, "m")))
    assert "no interval" in "".join(tags.words)
    void = make_data(tmp_path / "void", ["a", "b"], LABELS)
    for sample in void.split("val"):
        assert sample.mask is not None
        Image.fromarray(np.full((32, 48), IGNORE, np.uint8)).save(sample.mask)
    result = evaluate(make_segmenter(LABELS), void, measures=MEASURES)
    text = page(make_report(result, make_segmenter(LABELS), void, "m"))
    tags = Tags()
    tags.feed(text)
    assert "nan" not in "".join(tags.words)
    assert "No labelled pixel" in text


def test_no_number_is_written_as_nan(tmp_path: Path) -> None:
    """A class that is in no picture has no figures, and makes no broken style or drawing."""
    labels = LabelMap.from_dict(label_map(5).to_dict())
    data = make_data(tmp_path, ["a"], label_map(3))
    absent = SegmentationData("shapes", tmp_path, labels, data.splits)
    result = evaluate(make_segmenter(labels), absent, measures=MEASURES)
    text = page(make_report(result, make_segmenter(labels), absent, "m"))
    assert not re.search(r'="[^"]*\bnan\b', text)
    assert not re.search(r"style=\"[^\"]*nan", text)


def test_measures_and_a_place_that_cannot_be_written(
    scored: tuple[Evaluation, SegmentationData], tmp_path: Path
) -> None:
    assert with_report(["sizes", "boundary"]) == ["sizes", "boundary", "calibration", "distance", "suspects"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected an output folder"):
        write_report(tmp_path / "file", scored[0], make_segmenter(LABELS), scored[1], "m")
