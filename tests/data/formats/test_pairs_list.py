from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refineseg.data.formats import import_data
from tests.data.formats.fuzz import one_line_or_nothing
from tests.data.formats.helpers import brought_in, fails, labels_map, mask_file, picture, rows

MASK = rows("0011....", *["........"] * 4, "xx......")


def made(folder: Path, text: str, name: str = "pairs.csv") -> Path:
    picture(folder / "photos/a b.png")
    picture(folder / "photos/c.jpg", seed=1)
    mask_file(folder / "truth/1.png", MASK)
    mask_file(folder / "truth/2.png", 1 - np.minimum(MASK, 1))
    (folder / "labels.yaml").write_text("classes: [background, road]\nignore: [255]\n")
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.csv", "image,mask,split\nphotos/a b.png,truth/1.png,train\n\nphotos/c.jpg,truth/2.png,val\n"),
        (
            "pairs.csv",
            'id,image,mask,split\n0,"photos/a b.png","truth/1.png",train\n1,photos\\c.jpg,truth/2.png,val\n',
        ),
        ("pairs.tsv", "photos/a b.png\ttruth/1.png\ttraining\nphotos/c.jpg\ttruth/2.png\tvalid\n"),
        ("pairs.csv", "# made by hand\nphotos/a b.png;truth/1.png;train\nphotos/c.jpg;truth/2.png;validation\n"),
    ],
)
def test_pairs_of_a_list(tmp_path: Path, name: str, text: str) -> None:
    report, masks = brought_in(made(tmp_path / "src", text, name), tmp_path / "out")
    assert report.format == "list"
    assert report.class_names == ("background", "road")
    assert report.splits == {"train": 1, "val": 1}
    np.testing.assert_array_equal(masks["a_b"], MASK)
    np.testing.assert_array_equal(masks["c"], 1 - np.minimum(MASK, 1))


def test_a_text_list_with_blanks(tmp_path: Path) -> None:
    src = made(tmp_path / "src", "photos/c.jpg truth/2.png\n", "train.txt")
    report, masks = brought_in(src, tmp_path / "out")
    assert report.splits == {}
    assert list(masks) == ["c"]


def test_colour_masks_by_the_colours_of_the_labels(tmp_path: Path) -> None:
    src = made(tmp_path / "src", "photos/c.jpg,truth/rgb.png\n")
    (src.parent / "labels.yaml").write_text(
        "classes: [{name: sky, color: [0, 0, 9]}, {name: road, color: [7, 0, 0]}]\n"
    )
    colors = np.zeros((6, 8, 3), np.uint8)
    colors[..., 2] = 9
    colors[2, 3] = (7, 0, 0)
    mask_file(src.parent / "truth/rgb.png", colors)
    _, masks = brought_in(src, tmp_path / "out")
    np.testing.assert_array_equal(np.argwhere(masks["c"] == 1), [[2, 3]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("photos/c.jpg,truth/2.png\nphotos/c.jpg\n", ["line 2", "a picture and its mask", "'photos/c.jpg'"]),
        ("photos/c.jpg,truth/2.png\nphotos/z.jpg,truth/2.png\n", ["line 2", "'photos/z.jpg'"]),
        ("photos/c.jpg,truth/z.png\n", ["line 1", "'truth/z.png'"]),
        ("image,mask\n", ["a picture and a mask on every line"]),
        ("", ["a picture and a mask on every line"]),
        ("photos/c.jpg,photos/c.jpg\n", ["c.jpg", "expected"]),
        (f"photos/c.jpg,{'z' * 5000}.png\n", ["line 1", "zzz"]),
    ],
)
def test_bad_lists_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    src = made(tmp_path / "src", text)
    fails(src, tmp_path / "out", "list", *words)


def test_sizes_and_values_that_do_not_fit_are_named(tmp_path: Path) -> None:
    src = made(tmp_path / "src", "photos/c.jpg,truth/2.png\n")
    text = fails(src, tmp_path / "out", "list", "truth/2.png", "found 1 (", labels=labels_map("one"))
    expected = text.replace(str(tmp_path), "").split("found")[0]  # the folder's name has digits of its own
    assert "48" not in expected
    mask_file(tmp_path / "src/truth/2.png", np.zeros((6, 7)))
    fails(src, tmp_path / "out", "list", "c.jpg", "8x6", "7x6")
    (tmp_path / "src/labels.yaml").unlink()
    fails(src, tmp_path / "out", "list", "labels.yaml", "contain 0")
    src.write_bytes(b"\xff\xfe\x00")
    fails(src, tmp_path / "out", "list", "cannot read")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.text('a.png,jpg/\t;"#\n\x00 ', max_size=40).map(str.encode))
def test_any_bytes_give_pairs_or_one_line(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        src = made(Path(name) / "src", "")
        src.write_bytes(b"photos/c.jpg,truth/2.png\n" + data)
        one_line_or_nothing(lambda: import_data(src, Path(name) / "out", "list"))
