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
from refineseg.data.formats.parsing.coco_rle import counts_of, decode_segmentation, encode_rle
from refineseg.data.formats.parsing.documents import Node
from refineseg.errors import InputError
from refineseg.labels import UInt8
from tests.data.formats.fuzz import damage, one_line_or_nothing
from tests.data.formats.helpers import brought_in, fails, labels_map, picture, rows, write_json

BOX = [[1, 1, 4, 1, 4, 3, 1, 3]]


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": 18, "iscrowd": 0} | given
            for i, given in enumerate(annotations)
        ],
    } | changes


def made(folder: Path, values: Any) -> Path:
    picture(folder / "a.png")
    return write_json(folder / "annotations.json", values)


def test_a_polygon_is_painted_with_the_category_in_the_order_of_ids(tmp_path: Path) -> None:
    src = made(tmp_path / "src", document({"segmentation": BOX}))
    report, masks = brought_in(src, tmp_path / "out")
    assert report.class_names == ("background", "cat", "dog")
    assert report.format == "coco"
    np.testing.assert_array_equal(
        masks["a"], rows("........", ".222....", ".222....", "........", "........", "........")
    )
    assert (tmp_path / "out/images/a.png").read_bytes() == (tmp_path / "src/a.png").read_bytes()


def test_small_instances_lie_on_top_and_crowds_below_all(tmp_path: Path) -> None:
    small: dict[str, Any] = {"segmentation": [[1, 1, 3, 1, 3, 2, 1, 2]], "category_id": 3}
    large: dict[str, Any] = {"segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
    crowd: dict[str, Any] = {
        "segmentation": {"size": [6, 8], "counts": [0, 18, 30]},
        "iscrowd": 1,
    }  # columns 0, 1, 2
    expected = rows("2222....", "2112....", "2222....", "2222....", "xxx.....", "xxx.....")
    for order in ([small, large, crowd], [crowd, large, small]):
        src = made(tmp_path / f"src{order[0] is small}", document(*order))
        _, masks = brought_in(src, tmp_path / f"out{order[0] is small}")
        np.testing.assert_array_equal(masks["a"], expected)


def test_unlabelled_pixels_can_be_ignored(tmp_path: Path) -> None:
    src = made(tmp_path / "src", document({"segmentation": BOX}))
    report, masks = brought_in(src, tmp_path / "out", unlabelled="ignore")
    assert report.class_names == ("cat", "dog")
    assert masks["a"][1, 1] == 1
    assert masks["a"][0, 0] == 255


def test_given_labels_decide_the_train_ids(tmp_path: Path) -> None:
    src = made(tmp_path / "src", document({"segmentation": BOX}))
    report, masks = brought_in(src, tmp_path / "out", labels=labels_map("dog", "background", "cat"))
    assert report.class_names == ("dog", "background", "cat")
    assert masks["a"][1, 1] == 0
    assert masks["a"][0, 0] == 1
    fails(src, tmp_path / "no", "coco", "annotations.json: categories[1].name", "'cat'", labels=labels_map("dog"))


def test_both_kinds_of_run_lengths_are_the_same(tmp_path: Path) -> None:
    region = rows("........", ".11..1..", ".1.1....", ".111....", "........", ".......1") > 0
    compressed, _ = encode_rle(region)
    flat = [0, *np.asarray(region.T.ravel(), np.uint8).tolist()]
    changes = np.flatnonzero(np.diff(flat)).tolist()
    runs = np.diff([0, *changes, 48]).tolist()
    for name, segmentation in (("c", compressed), ("u", {"size": [6, 8], "counts": runs})):
        src = made(tmp_path / f"src{name}", document({"segmentation": segmentation}))
        _, masks = brought_in(src, tmp_path / f"out{name}")
        np.testing.assert_array_equal(masks["a"] == 2, region)


def test_splits_come_from_the_files_names(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        picture(tmp_path / f"coco/{split}/{split}.png")
        values = document(images=[{"id": 7, "file_name": f"{split}.png", "height": 6, "width": 8}])
        values["annotations"] = []
        write_json(tmp_path / f"coco/annotations/instances_{split}.json", values)
        write_json(tmp_path / f"coco/annotations/captions_{split}.json", values)
    report, masks = brought_in(tmp_path / "coco", tmp_path / "out")
    assert report.splits == {"train": 1, "val": 1}
    assert (tmp_path / "out/val.txt").read_text() == "val2017\n"
    assert not masks["train2017"].any()


@pytest.mark.parametrize("nothing", [[], [[]], {}, "", None, [None], [{}], [[], None]])
def test_annotations_with_boxes_only_are_left_out_and_said(nothing: Any, tmp_path: Path) -> None:
    src = made(tmp_path / "src", document({"segmentation": BOX}, {"segmentation": nothing}))
    report, _ = brought_in(src, tmp_path / "out")
    assert any("left out 1 annotation without an outline" in note for note in report.notes)
    src = made(tmp_path / "boxes", document({"segmentation": nothing}))
    fails(src, tmp_path / "no", "coco", "got bounding boxes or key points only in 1 annotation")


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({}, ["'segmentation'", "in 1 annotation"]),
        ({"segmentation": BOX, "category_id": 5}, ["annotations[0].category_id", "categories", "5"]),
        ({"segmentation": BOX, "image_id": 8}, ["annotations[0].image_id", "8"]),
        ({"segmentation": [[1, 1, 2, 2]]}, ["annotations[0].segmentation[0]", "3 points"]),
        ({"segmentation": [[1, 1, 2, 2, 3, 3, 4]]}, ["annotations[0].segmentation[0]", "7 numbers"]),
        ({"segmentation": [[1, 1, 2, "x", 3, 3]]}, ["segmentation[0][3]", "a number", "'x'"]),
        ({"segmentation": [[1, 1, 900, 1, 3, 3]]}, ["segmentation[0]", "8x6", "900"]),
        ({"segmentation": "RLE"}, ["segmentation", "a list"]),
        ({"segmentation": {"size": [6, 9], "counts": [54]}}, ["8x6", "9x6"]),
        ({"segmentation": {"size": [6, 8], "counts": [40]}}, ["counts", "48 pixels", "40"]),
        ({"segmentation": {"size": [6, 8], "counts": "1"}}, ["counts", "48 pixels"]),
        ({"segmentation": {"size": [6, 8], "counts": "T"}}, ["counts", "cut off"]),
        ({"segmentation": {"size": [6, 8], "counts": "é"}}, ["counts", "character"]),
    ],
)
def test_bad_annotations_are_named(tmp_path: Path, annotation: dict[str, Any], words: list[str]) -> None:
    src = made(tmp_path / "src", document(annotation))
    fails(src, tmp_path / "out", "coco", str(src), *words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": [{"id": 7, "file_name": "b.png", "height": 6, "width": 8}]}, ["images[0].file_name", "b.png"]),
        ({"images": [{"id": 7, "file_name": "a.png", "height": 8, "width": 6}]}, ["images[0]", "8x6", "6x8"]),
        ({"images": [{"id": 7}]}, ["images[0]", "file_name"]),
        ({"images": {}}, ["images", "a list"]),
        ({"categories": [{"id": 18}]}, ["categories[0]", "'name'"]),
        ({"annotations": 3}, ["annotations", "a list"]),
    ],
)
def test_bad_documents_are_named(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    src = made(tmp_path / "src", document({"segmentation": BOX}, **changes))
    fails(src, tmp_path / "out", "coco", str(src), *words)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    src = made(tmp_path / "src", document())
    src.write_text(src.read_text()[:-9])
    fails(src, tmp_path / "out", "coco", str(src), "cut off")


def test_compressed_counts_by_hand() -> None:
    # 5, 2, 2 as they are; then 2 - 2 = 0, 0 and 3 of the differences: the first example of the maskApi's layout.
    assert counts_of("522", "x") == [5, 2, 2]
    assert counts_of("5220", "x") == [5, 2, 2, 2]
    assert counts_of("5220O", "x") == [5, 2, 2, 2, 1]  # O is -1
    assert counts_of("P1", "x") == [32]  # 0 with more to come, then 1 at the next 5 bits


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_encoding_and_decoding_are_inverse(region: np.ndarray) -> None:
    shape = (region.shape[0], region.shape[1])
    values, _ = encode_rle(region)
    np.testing.assert_array_equal(decode_segmentation(Node(values, "x: y"), shape), region)
    assert sum(counts_of(values["counts"], "x")) == region.size


@given(st.text(max_size=12), st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_any_counts_decode_or_are_refused(text: str, shape: tuple[int, int]) -> None:
    try:
        region: UInt8 | Any = decode_segmentation(Node({"size": list(shape), "counts": text}, "x: y"), shape)
    except InputError:
        return
    assert region.shape == shape
    assert sum(counts_of(text, "x")) == region.size


GOOD = document(
    {"segmentation": BOX},
    {"segmentation": {"size": [6, 8], "counts": [3, 2, 43]}, "iscrowd": 1},
    {"segmentation": encode_rle(np.eye(6, 8) > 0)[0]},
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_documents_give_one_line(data: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        src = made(Path(name) / "src", {})
        src.write_text(json.dumps(damage(GOOD, data.draw)))
        one_line_or_nothing(lambda: import_data(src, Path(name) / "out", "coco"))
