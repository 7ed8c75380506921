"""Variants of strangers' files: nothing of them may be lost, doubled or turned without a word."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refineseg.data.check import check_data
from refineseg.data.dataset import find_listed
from refineseg.data.formats.format import FaultsError, ReadOptions
from refineseg.data.formats.transfer.import_options import ImportReport
from refineseg.data.formats.transfer.importer import import_data
from refineseg.data.images import read_binary_mask, read_mask
from refineseg.data.registry import open_data
from refineseg.errors import InputError

HEIGHT, WIDTH = 30, 40
SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]  # 100 pixels
BESIDE = [20, 5, 30, 5, 30, 15, 20, 15]
STRIPE = np.repeat(np.arange(HEIGHT, dtype=np.uint8)[:, None] < 10, WIDTH, axis=1).astype(np.uint8)
LABELS = "classes: [background, road]\n"
ORIENTATION = 0x0112


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)).save(path)


def coco(
    root: Path, annotations: Sequence[Mapping[str, Any]], names: tuple[str, ...] = ("a.png",), **given: Any
) -> None:
    """A COCO json; annotations have category 1 and picture 1 where they do not say others."""
    document = {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
            for number, name in enumerate(names, 1)
        ],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "road"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, **annotation}
            for number, annotation in enumerate(annotations)
        ],
    } | given
    (root / "annotations.json").write_text(json.dumps(document))


def imported(root: Path, out: Path, **options: Any) -> tuple[ImportReport, dict[str, dict[str, int]]]:
    """The report, and pixels by class name of each mask."""
    report = import_data(root, out, options=ReadOptions(**options))
    found = {}
    for mask in sorted((out / "masks").iterdir()):
        values, counts = np.unique(np.asarray(Image.open(mask)), return_counts=True)
        found[mask.stem] = {
            report.class_names[value]: count for value, count in zip(values, counts.tolist(), strict=True)
        }
    return report, found


def test_areas_without_a_pixel_are_counted_by_class(tmp_path: Path) -> None:
    picture(tmp_path / "src/a.png")
    outlines = [SQUARE, [5, 5, 5, 5, 5, 5], [7, 7, 9, 7, 8, 7]]
    coco(tmp_path / "src", [{"segmentation": [outline]} for outline in outlines])
    report, masks = imported(tmp_path / "src", tmp_path / "out")
    assert masks["a"]["car"] == 100
    assert "left out 2 areas without a pixel: empty, too small or outside the picture (car 2)" in report.notes


def test_a_picture_that_is_listed_twice_is_one_picture_with_all_areas(tmp_path: Path) -> None:
    picture(tmp_path / "src/a.png")
    entries: list[dict[str, Any]] = [
        {"segmentation": [SQUARE]},
        {"segmentation": [BESIDE], "image_id": 2, "category_id": 2},
    ]
    coco(tmp_path / "src", entries, names=("a.png", "a.png"))
    report, masks = imported(tmp_path / "src", tmp_path / "out")
    assert masks == {"a": {"background": 1000, "car": 100, "road": 100}}
    assert report.warnings == ("merged the areas of 1 picture annotated more than once: a.png",)


def test_ids_below_zero_are_ids(tmp_path: Path) -> None:
    picture(tmp_path / "src/a.png")
    categories = [{"id": 0, "name": "car"}, {"id": -1, "name": "road"}]
    entries: list[dict[str, Any]] = [
        {"segmentation": [SQUARE], "category_id": 0},
        {"segmentation": [BESIDE], "category_id": "-1"},
    ]
    coco(tmp_path / "src", entries, categories=categories)
    assert imported(tmp_path / "src", tmp_path / "out")[1]["a"] == {"background": 1000, "road": 100, "car": 100}


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a b.png", "a%20b.png"),
        ("a.png", "https://example.org/sets/a.png?signature=1"),
        (unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "é.png")),
        ("A.PNG", "a.png"),
        ("a.png", "C:\\sets\\a.png"),
    ],
)
def test_other_spellings_of_a_name_find_the_picture(tmp_path: Path, file: str, name: str) -> None:
    picture(tmp_path / "src" / file)
    coco(tmp_path / "src", [{"segmentation": [SQUARE]}], names=(name,))
    (pixels,) = imported(tmp_path / "src", tmp_path / "out")[1].values()
    assert pixels["car"] == 100


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_annotations_in_any_encoding_that_says_itself(tmp_path: Path, encoding: str) -> None:
    picture(tmp_path / "coco/a.png")
    coco(tmp_path / "coco", [{"segmentation": [SQUARE]}])
    cvat, yolo = tmp_path / "cvat/annotations.xml", tmp_path / "yolo/labels/a.txt"
    picture(cvat.parent / "a.png")
    picture(yolo.parents[1] / "images/a.png")
    yolo.parent.mkdir()
    cvat.write_text(
        f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?><annotations><version>1.1</version>'
        '<image id="0" name="a.png" width="40" height="30">'
        '<polygon label="car" points="5,5;15,5;15,15;5,15" z_order="0"/></image></annotations>'
    )
    yolo.write_text("0 0.125 0.1667 0.375 0.1667 0.375 0.5 0.125 0.5\n")
    (yolo.parents[1] / "data.yaml").write_text("names: [car]\ntrain: images\n")
    files = (tmp_path / "coco/annotations.json", cvat, yolo, yolo.parents[1] / "data.yaml")
    for file in files:
        file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    for name in ("coco", "cvat", "yolo"):
        report, masks = imported(tmp_path / name, tmp_path / f"{name}_out")
        assert (report.format, masks["a"]) == (name, {"background": 1100, "car": 100})


def test_a_region_of_two_classes_is_a_fault(tmp_path: Path) -> None:
    picture(tmp_path / "src/a.png")
    points = [[12.5, 16.67], [37.5, 16.67], [37.5, 50], [12.5, 50]]
    region = {"type": "polygonlabels", "to_name": "image", "original_width": WIDTH, "original_height": HEIGHT}
    results = [
        region | {"value": {"points": points, "polygonlabels": names}} for names in (["car", "road"], ["car"])
    ]
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"id": 1, "result": results}]}
    (tmp_path / "src/export.json").write_text(json.dumps([task]))
    with pytest.raises(FaultsError, match=r"expected a list with one class name, got \['car', 'road'\]"):
        import_data(tmp_path / "src", tmp_path / "out")


def pair_folder(root: Path, mask: str = "a.png", image: str = "a.png", labels: bytes = LABELS.encode()) -> Path:
    """A folder of one pair, whose mask is to be written; its path."""
    picture(root / "images" / image)
    (root / "masks").mkdir()
    (root / "labels.yaml").write_bytes(labels)
    return root / "masks" / mask


def test_masks_and_pictures_whose_names_macos_wrote_otherwise(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    mask = pair_folder(tmp_path / "src", composed, apart, LABELS.encode("utf-16"))
    Image.fromarray(STRIPE).save(mask)
    (tmp_path / "src/train.txt").write_bytes("é\n".encode("utf-16"))
    (sample,) = open_data(f"folder:{tmp_path / 'src'}").splits["train"]
    assert sample.stem == unicodedata.normalize("NFC", "é")
    assert not [item for item in check_data(f"folder:{tmp_path / 'src'}").findings if item.severity == "error"]
    assert imported(tmp_path / "src", tmp_path / "out")[1] == {"é": {"background": 800, "road": 400}}


def test_lines_of_lists(tmp_path: Path) -> None:
    known = {"my photo": 1, "b": 2}
    lines = ["my photo", "images\\my photo.jpg", "images/b.png masks/b.png", "c"]
    assert [find_listed(line, known) for line in lines] == [1, 1, 2, None]


def test_modes_of_masks(tmp_path: Path) -> None:
    plain, opaque = Image.fromarray(STRIPE), Image.new("L", (WIDTH, HEIGHT), 255)
    Image.merge("LA", [plain, opaque]).save(tmp_path / "la.png")
    Image.fromarray(STRIPE.astype(np.float32)).save(tmp_path / "f.tif")
    for name in ("la.png", "f.tif"):
        assert np.array_equal(read_mask(tmp_path / name), STRIPE)
    Image.fromarray(STRIPE.astype(np.float32) / 2).save(tmp_path / "half.tif")
    with pytest.raises(InputError, match=r"whole class numbers, got fractions or no numbers in .*half\.tif"):
        read_mask(tmp_path / "half.tif")


def test_a_mask_that_says_it_is_turned_is_read_as_it_is_seen(tmp_path: Path) -> None:
    stored = Image.fromarray(np.rot90(STRIPE).copy())
    exif = stored.getexif()
    exif[ORIENTATION] = 6  # turn by 90 degrees clockwise to see it
    stored.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "turned.png"), STRIPE)
    assert np.array_equal(read_binary_mask(tmp_path / "turned.png", 1), STRIPE)


def test_a_mask_of_several_pages_is_refused_and_overviews_are_no_pages(tmp_path: Path) -> None:
    first, second = Image.fromarray(STRIPE), Image.fromarray(STRIPE[::2, ::2].copy())
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[first])
    for read in (read_mask, lambda path: read_binary_mask(path, 128)):
        with pytest.raises(
            InputError, match=r"expected a mask of one page, got 2 pages or frames in .*pages\.tif"
        ):
            read(tmp_path / "pages.tif")
    second.encoderinfo = {"tiffinfo": {0x00FE: 1}}
    first.save(tmp_path / "overview.tif", save_all=True, append_images=[second])
    with Image.open(tmp_path / "overview.tif") as image:
        image.seek(1)
        tags: Any = getattr(image, "tag_v2", {})
        assert tags[0x00FE] == 1
    assert np.array_equal(read_mask(tmp_path / "overview.tif"), STRIPE)


def test_a_damaged_first_mask_is_named(tmp_path: Path) -> None:
    pair_folder(tmp_path / "src").write_bytes(b"")
    with pytest.raises(FaultsError, match=r"cannot read .*a\.png as a mask"):
        import_data(tmp_path / "src", tmp_path / "none")
    picture(tmp_path / "src/images/b.png")
    Image.fromarray(STRIPE).save(tmp_path / "src/masks/b.png")
    with pytest.raises(FaultsError, match=r"cannot read .*a\.png as a mask"):
        import_data(tmp_path / "src", tmp_path / "none")


def test_crowds_of_panoptic_files_are_counted_by_class(tmp_path: Path) -> None:
    picture(tmp_path / "src/images/a.png")
    (tmp_path / "src/panoptic").mkdir()
    Image.fromarray(np.dstack([STRIPE * 5, STRIPE * 0, STRIPE * 0])).save(tmp_path / "src/panoptic/a.png")
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "car", "isthing": 1}],
        "annotations": [
            {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 5, "category_id": 1, "iscrowd": 1}]}
        ],
    }
    (tmp_path / "src/panoptic.json").write_text(json.dumps(document))
    report = import_data(tmp_path / "src", tmp_path / "out")
    assert any(note.startswith("crowd regions (iscrowd) are ignored pixels: car 1 of 1") for note in report.notes)
    assert report.warnings[0].startswith("car: all outlines are crowd regions")
    assert imported(tmp_path / "src", tmp_path / "as_class", crowds="class")[1]["a"]["car"] == 10 * WIDTH
