"""Charts, overlays and confusions of the report, by hand."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from refineseg.evaluation.measures.suspects import Suspect
from refineseg.evaluation.report.charts import (
    by_similarity,
    confusion_chart,
    distance_chart,
    nice,
    percent,
    pictures_chart,
    reliability_chart,
    ring_labels,
    risk_chart,
)
from refineseg.evaluation.report.overlays import CROP, PANEL, WRONG, error_map, panels, surroundings, suspect_views
from refineseg.evaluation.report.sections import Confusion, top_confusions
from refineseg.labels import IGNORE
from tests.evaluation.pictures import label_map

NAN = float("nan")


def parse(svg: str) -> ElementTree.Element:
    for name, sign in (("&ndash;", "-"), ("&#8239;", " ")):
        svg = svg.replace(name, sign)
    return ElementTree.fromstring(svg)


def heights(svg: str, kind: str) -> list[float]:
    return [float(item.attrib["height"]) for item in parse(svg).iter("rect") if item.attrib["class"] == kind]


def test_percent() -> None:
    assert percent(0.1234) == "12.3&#8239;%"
    assert percent(0.126, 0) == "13&#8239;%"
    assert percent(NAN) == "&ndash;"


def test_reliability_bars_and_gaps_have_the_right_heights() -> None:
    drawn = reliability_chart(np.array([NAN, 0.6]), np.array([NAN, 0.9]), np.array([0.0, 1.0]))
    (bar,), (gap,) = heights(drawn, "bar"), heights(drawn, "gap")
    assert gap / bar == pytest.approx(0.3 / 0.9, abs=0.002)
    assert [item.text for item in parse(drawn).iter("title")] == ["90.0 % right at 60.0 %; 100.0 % of the pixels"]


def test_distance_bars() -> None:
    drawn = distance_chart((1, 2, 5), np.array([0.5, 1.0, NAN, 0.25]), np.array([1.0, 1, 0, 2]))
    bars = heights(drawn, "bar")
    assert np.array(bars) / max(bars) == pytest.approx([0.5, 1, 0.25], abs=0.002)
    assert ring_labels((1, 2, 5)) == ["1", "2", "3&ndash;5", "&gt;5"]


def test_risk_curve_and_its_scale() -> None:
    assert [nice(value) for value in (0.011, 0.05, 0.3, 0.7)] == [0.02, 0.05, 0.5, 1]
    drawn = parse(risk_chart(np.array([0.5, 1.0]), np.array([0.0, 0.2])))
    (curve,) = drawn.iter("polyline")
    (x1, y1), (x2, y2) = ([float(part) for part in point.split(",")] for point in curve.attrib["points"].split())
    assert x1 < x2
    assert y1 > y2  # the error rises with the coverage, and y goes down the page


def test_pictures_histogram_lights_the_bins_of_the_marked() -> None:
    drawn = pictures_chart(np.array([0.11, 0.5, 0.51, NAN]), [0], 0.5)
    (lit,), (other,) = heights(drawn, "bar lit"), heights(drawn, "bar")
    assert other == pytest.approx(2 * lit)


def test_order_puts_the_confused_side_by_side() -> None:
    shares = np.eye(6)
    for first, second in ((0, 3), (3, 5), (5, 1), (1, 4), (4, 2)):  # a chain
        shares[first, second] = shares[second, first] = 0.2
    order = by_similarity(shares)
    assert order in ([0, 3, 5, 1, 4, 2], [2, 4, 1, 5, 3, 0])
    assert by_similarity(np.eye(1)) == [0]
    assert sorted(by_similarity(np.zeros((4, 4)))) == [0, 1, 2, 3]


def test_confusion_cells_say_what_is_called_what() -> None:
    confusion = np.array([[88.0, 12, 0], [0, 5, 5], [0, 0, 0]])
    titles = [
        item.text for item in parse(confusion_chart(confusion, ["Fence", "A&B", "Sky"], [1, 0])).iter("title")
    ]
    assert titles == [
        "50.0 % of A&B is predicted as A&B",
        "12.0 % of Fence is predicted as A&B",
        "88.0 % of Fence is predicted as Fence",
    ]
    many = confusion_chart(np.eye(150), [f"c{index}" for index in range(150)], list(range(150)))
    assert len(list(parse(many).iter("title"))) == 150


def test_top_confusions() -> None:
    confusion = np.array([[900_000, 100_000, 0], [0, 50_000, 50_000], [0, 10, 0]], np.int64)
    assert top_confusions(confusion) == [  # class 2 is too rare
        Confusion(1, 2, 0.5, 50_000 / 150_010),
        Confusion(0, 1, 0.1, 100_000 / 150_010),
    ]
    assert top_confusions(np.diag([5, 5])) == []


def test_overlays() -> None:
    labels = label_map(2)
    picture = np.full((600, 1000, 3), 100, np.uint8)
    truth, prediction = np.zeros((600, 1000), np.uint8), np.zeros((600, 1000), np.uint8)
    truth[:, :100], prediction[300:] = IGNORE, 1
    wrong = error_map(picture, truth, prediction)
    assert np.abs(wrong[400, 500].astype(int) - WRONG).max() < 50
    assert wrong[100, 500].tolist() == [135] * 3  # grey where right
    assert wrong[400, 50].tolist() == wrong[100, 50].tolist()  # void is the same whatever is predicted
    views = panels(picture, truth, prediction, labels)
    assert {view.shape for view in views.values()} == {(288, PANEL, 3)}
    assert (views["truth"][200] == views["truth"][100]).all()
    assert (views["prediction"][200] != views["prediction"][100]).any()


@pytest.mark.parametrize("box", [(0, 0, 10, 10), (90, 190, 100, 200), (40, 90, 60, 110), (0, 0, 100, 200)])
def test_cut_outs_hold_the_region_and_stay_within_the_picture(box: tuple[int, int, int, int]) -> None:
    top, left, bottom, right = box
    suspect = Suspect(0, 0, 1, 1, 0.9, box, np.ones((bottom - top, right - left), np.bool_))
    rows, columns = surroundings(suspect, 100, 200)
    assert 0 <= rows.start <= top < bottom <= rows.stop <= 100
    assert 0 <= columns.start <= left < right <= columns.stop <= 200
    views = suspect_views(np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200), np.uint8), suspect, label_map(2))
    assert {max(view.shape[:2]) for view in views.values()} == {CROP}
