from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refineseg.data.formats import import_data
from tests.data.formats.fuzz import one_line_or_nothing
from tests.data.formats.helpers import brought_in, fails, picture, rows

META = """<meta><task><labels>
<label><name>road</name><color>#804080</color></label><label><name>car</name></label></labels></task></meta>"""
IMAGE = '<image id="0" name="a.png" width="8" height="6">'
SHAPES = """
<mask label="car" rle="0, 1, 2, 3" left="5" top="1" width="3" height="2" z_order="0"/>
<polygon label="road" points="0.00,4.00;8.00,4.00;8.00,6.00;0.00,6.00" z_order="1"/>
<box label="car" xtl="1.0" ytl="1.0" xbr="3.0" ybr="5.0" z_order="2"/>
<ellipse label="ignore" cx="4" cy="5" rx="1" ry="1" z_order="3"/>
<polyline label="edge" points="0,0;1,1"/>
"""


def made(folder: Path, inside: str = SHAPES, image: str = IMAGE, meta: str = META) -> Path:
    picture(folder / "images/a.png")
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{image}{inside}'
    (folder / "annotations.xml").write_text(text + "</image></annotations>", encoding="utf-8")
    return folder


def test_shapes_are_painted_by_their_z_order(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    report, masks = brought_in(src, tmp_path / "out")
    assert report.format == "cvat"
    assert report.class_names == ("background", "road", "car")
    assert any("left out 1 shape of type polyline" in note for note in report.notes)
    expected = rows("........", ".22..2..", ".22..222", ".22.....", "122xx111", "111xx111")
    np.testing.assert_array_equal(masks["a"], expected)
    labels = (tmp_path / "out/labels.yaml").read_text()
    assert "128\n  - 64\n  - 128" in labels


def test_the_order_in_the_file_counts_where_z_order_is_equal(tmp_path: Path) -> None:
    boxes = '<box label="{}" xtl="0" ytl="0" xbr="2" ybr="2"/>'
    _, masks = brought_in(made(tmp_path / "src", boxes.format("car") + boxes.format("road")), tmp_path / "out")
    assert masks["a"][0, 0] == 1


def test_a_turned_box(tmp_path: Path) -> None:
    box = '<box label="car" xtl="0" ytl="1" xbr="3" ybr="2" rotation="90.0"/>'
    _, masks = brought_in(made(tmp_path / "src", box), tmp_path / "out")
    np.testing.assert_array_equal(np.argwhere(masks["a"]), [[0, 1], [1, 1], [2, 1]])


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ('<polygon points="0,0;1,1;2,2"/>', ["polygon", "'label'"]),
        ('<polygon label="car" points="0,0;1,1"/>', ["polygon 0", "at least 3 points, got 2"]),
        ('<polygon label="car" points="0,0;1,1;2"/>', ["polygon 0", "x,y;x,y"]),
        ('<polygon label="car" points="0,0;1,1;2,z"/>', ["polygon 0.points", "a number, got 'z'"]),
        ('<polygon label="car" points="0,0;1,1;2,nan"/>', ["polygon 0.points", "a number", "nan"]),
        ('<box label="car" xtl="0" ytl="0" xbr="1"/>', ["box 0", "'ybr'"]),
        ('<box label="car" xtl="0" ytl="0" xbr="1" ybr="1" z_order="a"/>', ["box 0", "z_order"]),
        (
            '<mask label="car" rle="5" left="0" top="0" width="3" height="2"/>',
            ["mask 0", "6 pixels, got 5"],
        ),
        ('<mask label="car" rle="a" left="0" top="0" width="3" height="2"/>', ["mask 0", "rle", "'a'"]),
        (
            '<mask label="car" rle="1.5,4.5" left="0" top="0" width="3" height="2"/>',
            ["mask 0.rle", "a whole number, got '1.5'"],
        ),
        ('<mask label="car" rle="6" left="8" top="0" width="3" height="2"/>', ["inside the picture 8x6"]),
        ('<mask label="car" rle="6" left="0" top="0" width="3"/>', ["mask 0", "'height'"]),
    ],
)
def test_bad_shapes_are_named(tmp_path: Path, inside: str, words: list[str]) -> None:
    src = made(tmp_path / "src", inside)
    fails(src, tmp_path / "out", "cvat", str(src / "annotations.xml"), "image", *words)


def test_bad_files_are_named(tmp_path: Path) -> None:
    src = made(tmp_path / "a", image='<image id="0" name="b.png" width="8" height="6">')
    fails(src, tmp_path / "out", "cvat", "image 0", "'b.png'", "--images")
    src = made(tmp_path / "b", image='<image id="0" name="a.png" width="6" height="8">')
    fails(src, tmp_path / "out", "cvat", "image 'a.png'", "8x6", "6x8")
    src = made(tmp_path / "c", image='<image id="0" width="8" height="6">')
    fails(src, tmp_path / "out", "cvat", "image 0", "'name'")
    src = made(tmp_path / "d", meta="<meta><labels><label/></labels></meta>")
    fails(src, tmp_path / "out", "cvat", "<name>")
    src = made(tmp_path / "e", inside='<polygon points="0,0;1,1;2,2"/>')
    fails(src, tmp_path / "out", "cvat", "polygon", "'label'")
    src = made(tmp_path / "f")
    text = (src / "annotations.xml").read_text()
    (src / "annotations.xml").write_text(text[:-30])
    fails(src, tmp_path / "out", "cvat", "annotations.xml", "cut off")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("doctype", [BOMB, OUTSIDE, "<!DOCTYPE annotations>"])
def test_document_types_and_entities_are_refused(tmp_path: Path, doctype: str) -> None:
    src = made(tmp_path / "src")
    text = (src / "annotations.xml").read_text()
    (src / "annotations.xml").write_text(text.replace("\n<annotations>", f"\n{doctype}<annotations>", 1))
    fails(src, tmp_path / "out", "cvat", "annotations.xml", "document type")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_give_one_line(data: Any) -> None:
    """Attributes replaced by junk, and files cut or changed anywhere."""
    with tempfile.TemporaryDirectory() as name:
        src = made(Path(name) / "src")
        text = (src / "annotations.xml").read_text()
        quoted = [index for index, letter in enumerate(text) if letter == '"']
        which = data.draw(st.integers(0, len(quoted) // 2 - 1))
        junk = data.draw(st.sampled_from(["", "-1", "1e300", "nan", "0x1", "1,1;", "9" * 400, "\u0663", "a&lt;"]))
        text = text[: quoted[2 * which] + 1] + junk + text[quoted[2 * which + 1] :]
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + text[start + data.draw(st.sampled_from([0, 0, 1, 5])) :]
        (src / "annotations.xml").write_text(text, encoding="utf-8")
        one_line_or_nothing(lambda: import_data(src, Path(name) / "out", "cvat"))
