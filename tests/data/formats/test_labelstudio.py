from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refineseg.data.formats import import_data
from refineseg.data.formats.parsing.brush_rle import decode_brush
from refineseg.errors import InputError
from refineseg.labels import UInt8
from tests.data.formats.fuzz import damage, one_line_or_nothing
from tests.data.formats.helpers import brought_in, fails, picture, rows, write_json

WIDTHS = (3, 4, 8, 16)  # bits of a run's length: any four do


def rle_of(alpha: UInt8, literals: bool = False) -> list[int]:
    """The format's own encoder, written from its description: runs of the RGBA bytes as text of bits."""
    values = np.repeat(alpha[..., None], 4, axis=2).ravel().tolist()
    bits = f"{len(values):032b}" + f"{8 - 1:05b}" + "".join(f"{width - 1:04b}" for width in WIDTHS)
    start = 0
    while start < len(values):
        end = start + 1
        while end < len(values) and end - start < 60 and (literals or values[end] == values[start]):
            end += 1
        which = next(index for index, width in enumerate(WIDTHS) if end - start - 1 < 1 << width)
        bits += ("0" if literals else "1") + f"{which:02b}" + f"{end - start - 1:0{WIDTHS[which]}b}"
        kept = values[start:end] if literals else values[start : start + 1]
        bits += "".join(f"{value:08b}" for value in kept)
        start = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def test_a_hand_made_stream() -> None:
    # One row of two pixels: four values 0, then four values 255. Lengths have 3 bits (2, less one).
    bits = (
        "00000000000000000000000000001000"  # 8 values
        + "00111"  # of 8 bits
        + "0010" * 4  # run lengths of 3 bits
        + "1"
        + "00"
        + "011"
        + "00000000"  # four times 0
        + "0"
        + "01"
        + "011"
        + "11111111" * 4  # four values of their own
        + "00"
    )
    data = bytes(int(bits[place : place + 8].ljust(8, "0"), 2) for place in range(0, len(bits), 8))
    np.testing.assert_array_equal(decode_brush(data, (1, 2), "x"), [[False, True]])
    np.testing.assert_array_equal(decode_brush(data, (2, 1), "x"), [[False], [True]])
    for length in range(len(data) - 1):
        with pytest.raises(InputError, match="x: expected"):
            decode_brush(data[:length], (1, 2), "x")


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 255)),
    st.booleans(),
)
def test_decoding_gives_back_what_was_painted(alpha: UInt8, literals: bool) -> None:
    shape = (alpha.shape[0], alpha.shape[1])
    np.testing.assert_array_equal(decode_brush(bytes(rle_of(alpha, literals)), shape, "x"), alpha >= 128)


@given(st.binary(max_size=30))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    header = (16).to_bytes(4, "big") + bytes([0b00111001, 0b00100010, 0b00100000])
    try:
        region = decode_brush(header + data, (2, 2), "x")
    except InputError:
        return
    assert region.shape == (2, 2)


def result(label: str, kind: str, **value: Any) -> dict[str, Any]:
    return {
        "id": "r",
        "type": f"{kind}labels",
        "original_width": 8,
        "original_height": 6,
        "image_rotation": 0,
        "value": {f"{kind}labels": [label]} | value,
    }


def tasks(*results: dict[str, Any], image: str = "/data/upload/1/0123abcd-a.png") -> list[dict[str, Any]]:
    return [{"id": 1, "data": {"image": image}, "annotations": [{"result": list(results)}]}]


def made(folder: Path, values: Any) -> Path:
    picture(folder / "images/a.png")
    return write_json(folder / "export.json", values)


BRUSH = rle_of(rows("1.......", *["........"] * 5) * 255)


def test_brushes_polygons_rectangles_and_ellipses_are_painted_in_order(tmp_path: Path) -> None:
    values = tasks(
        result("road", "rectangle", x=0, y=50, width=100, height=50, rotation=0),
        result("car", "polygon", points=[[12.5, 100 / 6], [50, 100 / 6], [50, 400 / 6], [12.5, 400 / 6]]),
        result("wheel", "ellipse", x=75, y=50, radiusX=12.5, radiusY=100 / 6),
        result("lamp", "brush", format="rle", rle=BRUSH),
        {"type": "choices", "value": {"choices": ["sunny"]}},
    )
    report, masks = brought_in(made(tmp_path / "src", values), tmp_path / "out")
    assert report.format == "labelstudio"
    assert report.class_names == ("background", "car", "lamp", "road", "wheel")
    assert any("left out 1 result without a class" in note for note in report.notes)
    expected = rows("2.......", ".111....", ".111.44.", "31113443", "33333333", "33333333")
    np.testing.assert_array_equal(masks["a"], expected)


def test_rectangles_turn_about_their_first_corner(tmp_path: Path) -> None:
    value = result("car", "rectangle", x=50, y=0, width=25, height=100 / 6, rotation=90)
    _, masks = brought_in(made(tmp_path / "src", tasks(value)), tmp_path / "out")
    np.testing.assert_array_equal(np.argwhere(masks["a"]), [[0, 3], [1, 3]])


def test_the_last_annotation_that_was_not_cancelled_counts(tmp_path: Path) -> None:
    values = tasks(result("old", "rectangle", x=0, y=0, width=50, height=50))
    values[0]["annotations"] += [
        {"result": [result("new", "rectangle", x=0, y=0, width=100, height=100)]},
        {"result": [], "was_cancelled": True},
    ]
    values.append({"id": 2, "data": {"image": "b.png"}, "annotations": []})
    report, masks = brought_in(made(tmp_path / "src", values), tmp_path / "out")
    assert report.class_names == ("background", "new")
    assert masks["a"].all()
    assert any("1 task without annotation" in note for note in report.notes)


@pytest.mark.parametrize(
    "address", ["a.png", "s3://bucket/x/a.png", "/data/local-files/?d=images/a.png", "http://h/a.png?t=1"]
)
def test_addresses_of_pictures(tmp_path: Path, address: str) -> None:
    src = made(tmp_path / "src", tasks(result("car", "rectangle", x=0, y=0, width=100, height=100), image=address))
    _, masks = brought_in(src, tmp_path / "out")
    assert list(masks) == ["a"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (result("car", "brush", format="rle", rle=BRUSH[:-4]), ["rle", "cut off"]),
        (result("car", "brush", format="rle", rle=[300]), ["rle", "0..255"]),
        (result("car", "brush", format="rle", rle="abc"), ["rle", "a list"]),
        (result("car", "brush", format="rle", rle=rle_of(rows("1."))), ["rle", "192 values", "got 8"]),
        (result("car", "polygon", points=[[0, 0], [1, 1]]), ["points", "at least 3 points"]),
        (result("car", "rectangle", x=0, y=0, width=5), ["'height'"]),
        (result("car", "ellipse", x=0, y="0", radiusX=1, radiusY=1), ["value.y", "a number"]),
        (result("car", "rectangle") | {"original_width": 9}, ["8x6", "9x6"]),
        (result("car", "rectangle") | {"image_rotation": 90}, ["image_rotation", "90"]),
        ({"value": {"brushlabels": []}}, ["brushlabels", "class name"]),
        ({"value": {"brushlabels": [4]}}, ["brushlabels[0]", "text"]),
    ],
)
def test_bad_results_are_named(tmp_path: Path, bad: dict[str, Any], words: list[str]) -> None:
    src = made(tmp_path / "src", tasks(bad))
    fails(src, tmp_path / "out", "labelstudio", str(src), "[0].annotations[0].result[0]", *words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([{"data": {"image": "a.png"}}], ["[0]", "'annotations'"]),
        (
            [{"data": {"text": "hello"}, "annotations": [{"result": [result("c", "brush")]}]}],
            ["data", "a picture"],
        ),
        (
            [{"data": {"image": "z.png"}, "annotations": [{"result": []}]}],
            ["[0].data.image", "'z.png'"],
        ),
        (tasks(result("c", "rectangle", x=0, y=0, width=1, height=1), image="z.png"), ["data.image", "'z.png'"]),
        ([{"data": {"image": "a.png"}, "annotations": []}], ["annotated tasks"]),
    ],
)
def test_bad_tasks_are_named(tmp_path: Path, values: Any, words: list[str]) -> None:
    fails(made(tmp_path / "src", values), tmp_path / "out", "labelstudio", *words)


GOOD = tasks(
    result("road", "rectangle", x=0, y=50, width=100, height=50, rotation=10),
    result("car", "polygon", points=[[12.5, 10], [50, 10], [50, 60]]),
    result("wheel", "ellipse", x=75, y=50, radiusX=12.5, radiusY=10),
    result("lamp", "brush", format="rle", rle=BRUSH),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_documents_give_one_line(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        src = made(Path(name) / "src", [])
        src.write_text(json.dumps(damage(GOOD, data.draw)))
        one_line_or_nothing(lambda: import_data(src, Path(name) / "out", "labelstudio"))
