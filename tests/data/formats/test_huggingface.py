from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from refineseg.data.formats import huggingface, import_data
from tests.data.formats.fuzz import one_line_or_nothing
from tests.data.formats.helpers import brought_in, fails, rows

MASK = rows("0011....", *["........"] * 4, "xx......")


def encoded(array: NDArray[Any], kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format=kind)
    return stream.getvalue()


def photo(seed: int, kind: str = "JPEG") -> bytes:
    return encoded(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8), kind)


def table(file: Path, images: list[Any], masks: list[Any], names: tuple[str, str] = ("image", "label")) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({names[0]: images, names[1]: masks}), file, row_group_size=2)
    return file.parent


def labelled(folder: Path) -> Path:
    (folder / "id2label.json").write_text(json.dumps({"1": "road", "0": "background"}))
    return folder


def test_rows_of_several_groups_and_files(tmp_path: Path) -> None:
    pictures = [photo(index) for index in range(5)]
    masks = [np.where(MASK == 1, index % 2, MASK).astype(np.uint8) for index in range(5)]
    structs = [{"bytes": data, "path": None} for data in pictures]
    table(
        tmp_path / "src/data/train-00000-of-00001.parquet", structs, [{"bytes": encoded(mask)} for mask in masks]
    )
    table(tmp_path / "src/data/validation-00000-of-00001.parquet", [photo(9, "PNG")], [encoded(MASK)])
    (tmp_path / "src/labels.yaml").write_text("classes: [background, road]\nignore: [255]\n")
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    assert report.format == "huggingface"
    assert report.splits == {"train": 5, "val": 1}
    for index in range(5):
        name = f"train-00000-{index:06d}"
        np.testing.assert_array_equal(found[name], masks[index])
        assert (tmp_path / f"out/images/{name}.jpg").read_bytes() == pictures[index]
    assert (tmp_path / "out/images/validation-00000-000000.png").read_bytes() == photo(9, "PNG")


def test_masks_as_lists_or_colours(tmp_path: Path) -> None:
    small = np.minimum(MASK, 1)
    src = labelled(table(tmp_path / "src/a.parquet", [photo(0)], [small.tolist()], ("pixel_values", "annotation")))
    report, found = brought_in(src, tmp_path / "out")
    assert report.class_names == ("background", "road")
    assert report.splits == {}
    np.testing.assert_array_equal(found["a-000000"], small)
    colors = np.array([[0, 0, 0], [230, 159, 0]], np.uint8)[small]  # the default palette's
    table(tmp_path / "src/a.parquet", [photo(0)], [encoded(colors)])
    _, found = brought_in(src, tmp_path / "rgb")
    np.testing.assert_array_equal(found["a-000000"], small)


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (b"no picture", encoded(MASK), ["damaged"]),
        (photo(0), encoded(MASK)[:40], ["row 0: label", "damaged"]),
        (photo(0), encoded(MASK[:5]), ["8x6", "8x5"]),
        (photo(0), encoded(MASK + 2), ["row 0: label", "2 ("]),
        (photo(0), [[0, 1], [0]], ["row 0: label", "one length"]),
        (photo(0), [[-1, 0]], ["row 0: label", "0..65535"]),
        (photo(0), {"path": "a.png"}, ["row 0: label", "embedded"]),
        (photo(0), 3, ["row 0: label", "bytes"]),
        ("text", encoded(MASK), ["row 0: image", "bytes"]),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, image: Any, mask: Any, words: list[str]) -> None:
    src = labelled(table(tmp_path / "src/a.parquet", [image], [mask]))
    fails(src, tmp_path / "out", "huggingface", *words)


def test_bad_files_are_named(tmp_path: Path) -> None:
    src = table(tmp_path / "src/a.parquet", [photo(0)], [encoded(MASK)])
    fails(src, tmp_path / "out", "huggingface", "a.parquet", "labels.yaml", "'label'")
    (src / "id2label.json").write_text('{"0": "road", "2": "car"}')
    fails(src, tmp_path / "out", "huggingface", "id2label.json", "0 to 1")
    (src / "id2label.json").write_text('{"zero": "road"}')
    fails(src, tmp_path / "out", "huggingface", "id2label.json")
    labelled(src)
    table(src / "a.parquet", [photo(0)], [encoded(MASK)], ("image", "other"))
    fails(src, tmp_path / "out", "huggingface", "a.parquet", "masks", "image, other")
    (src / "a.parquet").write_bytes((src / "a.parquet").read_bytes()[:-9])
    fails(src, tmp_path / "out", "huggingface", "a.parquet", "cut off")


def test_fewer_rows_than_the_footer_says_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = labelled(table(tmp_path / "src/a.parquet", [photo(0)], [encoded(np.minimum(MASK, 1))]))
    monkeypatch.setattr(huggingface._Table, "groups", [2])
    fails(src, tmp_path / "out", "huggingface", "expected 2 rows of image", "found 1", "damaged")


@settings(deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
def test_damaged_files_give_one_line(tmp_path_factory: pytest.TempPathFactory, place: int, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("x")
    src = labelled(table(folder / "src/a.parquet", [photo(0)], [encoded(np.minimum(MASK, 1))]))
    data = (src / "a.parquet").read_bytes()
    start = place % len(data)
    (src / "a.parquet").write_bytes(data[:start] + junk + data[start + len(junk) :])
    one_line_or_nothing(lambda: import_data(src, folder / "out", "huggingface"))
