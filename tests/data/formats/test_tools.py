"""Kinds of annotation that annotation tools write and that are easily read wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refineseg.data import read_mask
from refineseg.data.formats import ReadOptions, WriteOptions, export_predictions, import_data
from tests.data.formats import test_labelstudio
from tests.data.formats.helpers import brought_in, fails, labels_map, picture, rows, write_json
from tests.data.formats.test_exporter import predicted
from tests.data.formats.test_labelstudio import result

# Label Studio ----------------------------------------------------------------------------------------------

CORNERS = [(12.5, 100 / 6), (50, 100 / 6), (50, 400 / 6), (12.5, 400 / 6)]  # of x 1 to 4, y 1 to 4 in 8x6
SQUARE = rows("........", *[".111...."] * 3, "........", "........")


@pytest.mark.parametrize("closed", [True, False])
def test_closed_vectors_are_areas_and_open_ones_are_counted(tmp_path: Path, closed: bool) -> None:
    vertices = [{"x": x, "y": y, "id": str(x), "isBezier": False} for x, y in CORNERS]
    values = test_labelstudio.tasks(
        result("car", "vector", vertices=vertices, closed=closed),
        result("car", "rectangle", x=87.5, y=0, width=12.5, height=100 / 6, rotation=0),
    )
    report, masks = brought_in(test_labelstudio.made(tmp_path / "src", values), tmp_path / "out")
    corner = rows(".......1", *["........"] * 5)
    np.testing.assert_array_equal(masks["a"], SQUARE + corner if closed else corner)
    noted = any("left out 1 vector left open (car 1)" in note for note in report.notes)
    assert noted is not closed


@pytest.mark.parametrize("field", ["thumbnail", "preview_url", "small"])
def test_a_thumbnail_is_not_taken_for_the_picture(tmp_path: Path, field: str) -> None:
    (task,) = test_labelstudio.tasks(result("car", "polygon", points=[list(corner) for corner in CORNERS]))
    task["data"] = {field: "/data/upload/1/a_thumb.png"} | task["data"]
    src = test_labelstudio.made(tmp_path / "src", [task])
    picture(src.parent / "images/a_thumb.png", 3, 4)
    _, masks = brought_in(src, tmp_path / "out")
    assert list(masks) == ["a"]
    np.testing.assert_array_equal(masks["a"], SQUARE)


# CVAT for video --------------------------------------------------------------------------------------------

VIDEO = """<annotations><version>1.1</version><meta><task><labels><label><name>car</name></label></labels>
<original_size><width>8</width><height>6</height></original_size></task></meta>
<track id="0" label="car">{}</track><track id="1" label="car">{}</track></annotations>"""
BOX = '<box frame="{0}" outside="{1}" keyframe="1" xtl="{0}" ytl="0" xbr="{2}" ybr="2"/>'


def frames(folder: Path, first: str, second: str = "") -> Path:
    for index in range(3):
        picture(folder / f"images/frame_{index:06d}.png")
    (folder / "annotations.xml").write_text(VIDEO.format(first, second))
    return folder


def test_tracks_are_painted_in_their_frames(tmp_path: Path) -> None:
    """Every frame has its own box; one that is outside is not painted."""
    track = BOX.format(0, 0, 1) + BOX.format(1, 0, 2) + BOX.format(2, 1, 3)
    report, masks = brought_in(frames(tmp_path / "src", track), tmp_path / "out")
    assert {name: np.argwhere(mask == 1)[:, 1].tolist() for name, mask in masks.items()} == {
        "frame_000000": [0, 0],
        "frame_000001": [1, 1],
    }
    assert not report.warnings
    assert any("frame_000002.png" in note for note in report.notes)


def test_key_frames_alone_are_warned_of(tmp_path: Path) -> None:
    """CVAT writes the frames between key frames; a file without them is not filled up by a guess."""
    src = frames(tmp_path / "src", BOX.format(0, 0, 1) + BOX.format(2, 0, 3), BOX.format(1, 0, 2))
    report, masks = brought_in(src, tmp_path / "out")
    assert any("tracks lack 1 shape between key frames" in warning for warning in report.warnings)
    assert np.argwhere(masks["frame_000001"] == 1)[:, 1].tolist() == [1, 1]


# Polygons that are written ---------------------------------------------------------------------------------

PIECES = rows(".111....", ".111....", ".111..22", "......22", "......22", "x.......")


@pytest.mark.parametrize("format", ["labelme", "yolo"])
def test_polygons_come_back_as_the_same_pixels(tmp_path: Path, format: str) -> None:
    """Rectangles need no simplification, so that a tolerance of 0 loses nothing but what YOLO cannot say."""
    labels = labels_map("background", "road", "car")
    predictions = predicted(tmp_path, [PIECES], labels)
    options = WriteOptions("polygon", tolerance=0, smallest=1)
    photos, pre = tmp_path / "photos", tmp_path / "pre"
    written = export_predictions(predictions, labels, format, pre, images=photos, options=options)
    import_data(pre, tmp_path / "back", options=ReadOptions(images=photos))
    expected = PIECES if format == "labelme" else np.where(PIECES == 255, 0, PIECES)
    np.testing.assert_array_equal(read_mask(tmp_path / "back/masks/p0.png"), expected)
    assert any("1 ignored pixel without" in note for note in written.notes) is (format == "yolo")


def test_small_pieces_are_counted(tmp_path: Path) -> None:
    labels = labels_map("background", "road", "car")
    predictions = predicted(tmp_path, [PIECES], labels)
    options = WriteOptions("polygon", smallest=7)
    photos = tmp_path / "photos"
    written = export_predictions(predictions, labels, "labelme", tmp_path / "pre", images=photos, options=options)
    assert any("2" in note and "7 pixels" in note for note in written.notes), written.notes


def test_a_task_of_a_picture_that_shows_nothing(tmp_path: Path) -> None:
    """An annotation without results means that the picture is background, not that it was skipped."""
    values = test_labelstudio.tasks(result("car", "polygon", points=[list(corner) for corner in CORNERS]))
    empty = {"id": 2, "data": {"image": "b.png"}, "annotations": [{"result": []}]}
    src = test_labelstudio.made(tmp_path / "src", [*values, empty])
    picture(src.parent / "images/b.png")
    _, masks = brought_in(src, tmp_path / "out")
    assert not masks["b"].any()
    write_json(src, [*values, empty | {"annotations": []}])
    report, masks = brought_in(src, tmp_path / "other")
    assert list(masks) == ["a"]
    assert any("left out 1 task without annotation" in note for note in report.notes)


# VGG Image Annotator ---------------------------------------------------------------------------------------


def _without_classes(folder: Path) -> Path:
    """A picture with the region SQUARE that has no attribute, as is usual for data sets of one class."""
    picture(folder / "a.jpg")
    square = {"name": "rect", "x": 1, "y": 1, "width": 3, "height": 3}
    regions = [{"shape_attributes": square, "region_attributes": {}}]
    write_json(folder / "via_region_data.json", {"a.jpg9": {"filename": "a.jpg", "size": 9, "regions": regions}})
    return folder


def test_regions_without_a_class_are_of_the_only_one(tmp_path: Path) -> None:
    src = _without_classes(tmp_path / "src")
    fails(
        src, tmp_path / "no", "via", "expected annotations with class names, found none; give them with --labels"
    )
    report, found = brought_in(src, tmp_path / "out", labels=labels_map("background", "leaf"))
    np.testing.assert_array_equal(found["a"], SQUARE)
    assert "read 1 region without a class as leaf, the only one" in report.notes
    assert not report.warnings


def test_regions_without_a_class_among_others_are_warned_of(tmp_path: Path) -> None:
    src = _without_classes(tmp_path / "src")
    report, found = brought_in(src, tmp_path / "out", labels=labels_map("background", "leaf", "stem"))
    assert not found["a"].any()
    assert "left out 1 region without a class" in report.notes
    assert report.warnings == (
        "regions without a class are background; if all are of one class, give --labels with it and background",
    )
