from __future__ import annotations

import base64
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from refineseg.data.formats import import_data
from refineseg.labels import UInt8
from tests.data.formats.fuzz import damage, one_line_or_nothing
from tests.data.formats.helpers import brought_in, fails, labels_map, picture, rows, write_json

TRIANGLE = [[0, 0], [8, 0], [0, 6]]


def png(mask: UInt8) -> str:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def shape(label: str, kind: str, points: Any, **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}} | more


def document(*shapes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": 6,
        "imageWidth": 8,
    } | changes


def made(folder: Path, values: Any) -> Path:
    picture(folder / "a.png")
    write_json(folder / "a.json", values)
    return folder


def test_every_kind_of_shape_is_painted_in_order(tmp_path: Path) -> None:
    values = document(
        shape("road", "rectangle", [[8, 6], [0, 4]]),
        shape("car", "polygon", [[1, 1], [4, 1], [4, 5], [1, 5]]),
        shape("wheel", "circle", [[6, 2], [6, 3]]),
        shape("lamp", "mask", [[0, 0], [1, 1]], mask=png(rows("1.", ".1"))),
        shape("__ignore__", "rectangle", [[7, 5], [8, 6]]),
    )
    report, masks = brought_in(made(tmp_path / "src", values), tmp_path / "out")
    assert report.class_names == ("background", "car", "lamp", "road", "wheel")
    assert report.format == "labelme"
    expected = rows("2.......", ".211.44.", ".111.44.", ".111....", "31113333", "3333333x")
    np.testing.assert_array_equal(masks["a"], expected)


def test_shapes_without_area_are_left_out_and_said(tmp_path: Path) -> None:
    values = document(
        shape("road", "rectangle", [[0, 0], [2, 2]]),
        shape("edge", "line", [[0, 0], [5, 5]]),
        shape("edge", "linestrip", [[0, 0], [5, 5]]),
        shape("tip", "point", [[3, 3]]),
    )
    report, masks = brought_in(made(tmp_path / "src", values), tmp_path / "out")
    assert report.class_names == ("background", "road")
    assert masks["a"].sum() == 4
    assert sum("without an area" in note for note in report.notes) == 3


def test_a_picture_inside_the_json_is_taken_where_the_file_is_missing(tmp_path: Path) -> None:
    data = picture(tmp_path / "other.png").read_bytes()
    values = document(imagePath="C:\\gone\\a.png", imageData=base64.b64encode(data).decode())
    values["shapes"] = [shape("road", "rectangle", [[0, 0], [2, 2]])]
    write_json(tmp_path / "src/a.json", values)
    _, masks = brought_in(tmp_path / "src", tmp_path / "out")
    assert (tmp_path / "out/images/a.png").read_bytes() == data
    assert masks["a"].sum() == 4


def test_folders_of_one_name_do_not_collide(tmp_path: Path) -> None:
    for split in ("train", "val"):
        made(tmp_path / f"src/{split}", document(shape("road", "rectangle", [[0, 0], [2, 2]])))
    report, masks = brought_in(tmp_path / "src", tmp_path / "out")
    assert sorted(masks) == ["train_a", "val_a"]
    assert report.splits == {"train": 1, "val": 1}


GOOD = document(
    shape("road", "polygon", TRIANGLE),
    shape("lamp", "mask", [[0, 0], [1, 1]], mask=png(rows("1.", ".1"))),
    shape("wheel", "circle", [[6, 2], [6, 3]]),
    shape("road", "rectangle", [[0, 0], [2, 2]]),
)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (shape("road", "polygon", TRIANGLE[:2]), ["shapes[0].points", "at least 3 points, got 2"]),
        (shape("road", "rectangle", TRIANGLE[:1]), ["shapes[0].points", "at least 2 points"]),
        (shape("road", "polygon", [[0, 0, 0]] * 3), ["shapes[0].points[0]", "[x, y]"]),
        (shape("road", "polygon", [[0, float("nan")]] * 3), ["points[0][1]", "coordinate"]),
        (shape("road", "star", TRIANGLE), ["shapes[0].shape_type", "'star'"]),
        ({"label": "road", "shape_type": "polygon"}, ["shapes[0]", "'points'"]),
        ({"points": TRIANGLE, "shape_type": "polygon"}, ["shapes[0]", "'label'"]),
        (shape("road", "mask", [[0, 0], [1, 1]]), ["shapes[0]", "'mask'"]),
        (shape("road", "mask", [[0, 0], [1, 1]], mask="!!"), ["shapes[0].mask", "base64"]),
        (shape("road", "mask", [[0, 0], [1, 1]], mask=png(rows("11"))), ["shapes[0].mask", "2x2", "2x1"]),
        (shape("road", "mask", [[8, 0], [9, 1]], mask=png(rows("11", "11"))), ["inside the picture 8x6"]),
        (
            shape("road", "mask", [[0, 0], [1, 1]], mask=png(rows("11", "11"))[:40]),
            ["shapes[0].mask", "PNG", "damaged"],
        ),
    ],
)
def test_bad_shapes_are_named(tmp_path: Path, bad: dict[str, Any], words: list[str]) -> None:
    src = made(tmp_path / "src", document(bad))
    fails(src, tmp_path / "out", "labelme", str(src / "a.json"), *words)


ROAD = shape("road", "rectangle", [[0, 0], [2, 2]])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (document(ROAD, imageHeight=7), ["expected the picture's size 8x6, got 8x7"]),
        (document(shapes={}), ["shapes", "a list"]),
        (document(ROAD, imagePath="b.bmp", imageHeight="6"), ["imageHeight", "whole number"]),
        ({"version": "5", "imagePath": "a.png"}, ["'shapes'"]),
        ({"shapes": []}, ["'imagePath'"]),
    ],
)
def test_bad_documents_are_named(tmp_path: Path, values: Any, words: list[str]) -> None:
    src = made(tmp_path / "src", values)
    fails(src, tmp_path / "out", "labelme", str(src / "a.json"), *words)


def test_missing_pictures_and_unknown_classes_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "src/a.json", GOOD)
    fails(tmp_path / "src", tmp_path / "out", "labelme", "imagePath", "'a.png'", "--images")
    picture(tmp_path / "src/a.png")
    labels = labels_map("road", "lamp")
    fails(tmp_path / "src", tmp_path / "out", "labelme", "shapes[2].label", "'wheel'", labels=labels)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_documents_give_one_line(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        src = made(Path(name) / "src", {})
        (src / "a.json").write_text(json.dumps(damage(GOOD, data.draw)))
        one_line_or_nothing(lambda: import_data(src, Path(name) / "out", "labelme"))


def test_annotations_without_any_class_are_refused(tmp_path: Path) -> None:
    fails(made(tmp_path / "src", document()), tmp_path / "out", "labelme", "src", "class names, found none")
    _, masks = brought_in(made(tmp_path / "two", document()), tmp_path / "out", labels=labels_map("road"))
    assert (masks["a"] == 255).all()
