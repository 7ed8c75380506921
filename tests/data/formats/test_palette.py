from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data.images import read_mask, write_mask
from tests.data.formats.helpers import brought_in, fails, labels_map, mask_file, picture, rows
from tests.shared import shared

MASK = rows("0011....", *["........"] * 4, "xx.....2")
LABELS = "classes: [background, road, car]\nignore: [255]\n"


def made(folder: Path, images: str = "images", masks: str = "masks") -> Path:
    for index, name in enumerate(("a", "b")):
        picture(folder / images / f"{name}.jpg", seed=index)
        write_mask(folder / masks / f"{name}.png", MASK, labels_map("background", "road", "car"))
    (folder / "labels.yaml").write_text(LABELS)
    return folder


@pytest.mark.parametrize(
    ("images", "masks"), [("images", "masks"), ("JPEGImages", "SegmentationClass"), ("img", "labels")]
)
def test_pairs_in_folders(tmp_path: Path, images: str, masks: str) -> None:
    src = made(tmp_path / "src", images, masks)
    report, found = brought_in(src, tmp_path / "out")
    assert report.format == "palette"
    assert report.class_names == ("background", "road", "car")
    np.testing.assert_array_equal(found["a"], MASK)
    assert (tmp_path / "out/images/b.jpg").read_bytes() == (src / images / "b.jpg").read_bytes()


def test_the_lists_of_voc_say_what_is_used(tmp_path: Path) -> None:
    src = made(tmp_path / "src", "JPEGImages", "SegmentationClass")
    picture(src / "JPEGImages/without.jpg")
    (src / "ImageSets/Segmentation").mkdir(parents=True)
    (src / "ImageSets/Segmentation/train.txt").write_text("b\n")
    (src / "ImageSets/Segmentation/val.txt").write_text("a\n")
    report, _ = brought_in(src, tmp_path / "out")
    assert report.splits == {"train": 1, "val": 1}
    assert (tmp_path / "out/val.txt").read_text() == "a\n"
    (src / "ImageSets/Segmentation/val.txt").write_text("z\n")
    fails(src, tmp_path / "no", "palette", "val.txt lists z")


def test_splits_as_folders_and_endings_of_masks(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        picture(tmp_path / f"src/images/{split}/1.jpg")
        mask_file(tmp_path / f"src/annotations/{split}/1_mask.png", MASK)
    (tmp_path / "src/labels.yaml").write_text(LABELS)
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    assert report.splits == {"train": 1, "val": 1}
    assert len(found) == 2


@pytest.mark.parametrize("masks", ["images", "masks"])
def test_pairs_called_image_and_annotation(tmp_path: Path, masks: str) -> None:
    """In one folder or in two."""
    for name in ("1", "2"):
        picture(tmp_path / f"src/images/{name}_image.png")
        mask_file(tmp_path / f"src/{masks}/{name}_annotation.png", MASK)
    (tmp_path / "src/labels.yaml").write_text(LABELS)
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    assert report.pictures == 2
    for mask in found.values():
        np.testing.assert_array_equal(mask, MASK)


def test_raw_values_are_merged_as_the_labels_say(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "labels.yaml").write_text(
        "classes: [{name: ground, raw: [0, 1]}, {name: car, raw: [2]}]\nignore: [255]\n"
    )
    _, found = brought_in(src, tmp_path / "out")
    np.testing.assert_array_equal(found["a"], np.array([0, 0, 1] + [255] * 253)[MASK])


def test_palette_masks_are_read_by_colour_where_the_labels_are_colours(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "labels.yaml").unlink()
    lines = "# label:color_rgb:parts:actions\ncar:86,180,233::\nvoid:0,0,0::\nroad:230,159,0::\n"
    (src / "labelmap.txt").write_text(lines)
    report, found = brought_in(src, tmp_path / "out")
    assert report.class_names == ("car", "road")
    np.testing.assert_array_equal(found["a"], np.array([255, 1, 0] + [255] * 253)[MASK])
    Image.fromarray(MASK).save(src / "masks/a.png")
    fails(src, tmp_path / "no", "palette", "a.png", "got numbers")


def test_bad_folders_are_named(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "masks/b.png").unlink()
    report, _ = brought_in(src, tmp_path / "some")
    assert any("left out 1 picture without annotation: b.jpg" in note for note in report.notes)
    (src / "masks/a.png").rename(src / "masks/z.png")
    fails(src, tmp_path / "out", "palette", "a.jpg", "expected a mask")
    (src / "masks/z.png").rename(src / "masks/a.png")
    mask_file(src / "masks/b.png", np.full((6, 8), 7))
    fails(src, tmp_path / "out", "palette", "b.png", "7 (48 pixels)")
    mask_file(src / "masks/b.png", np.zeros((8, 6)))
    fails(src, tmp_path / "out", "palette", "b.jpg", "8x6", "6x8")
    (src / "masks/b.png").write_bytes((src / "masks/a.png").read_bytes()[:60])
    fails(src, tmp_path / "out", "palette", "b.png", "damaged")
    (src / "images/a.jpg").write_bytes(b"no picture")
    fails(src, tmp_path / "out", "palette", "a.jpg", "damaged")
    (src / "labels.yaml").unlink()
    mask_file(src / "masks/b.png", MASK)
    fails(src, tmp_path / "out", "palette", "contain 0, 1, 2, 255", "labels.yaml", "--labels")
    (src / "labels.yaml").write_text("classes: 3\n")
    fails(src, tmp_path / "out", "palette", "labels.yaml", "classes")
    fails(tmp_path / "nothing", tmp_path / "out", "palette", "nothing")


def test_the_real_voc_layout(tmp_path: Path) -> None:
    src = shared("data", "samples", "voc2012", "VOCdevkit", "VOC2012")
    labels = labels_map(*(f"class {number}" for number in range(21)))
    report, found = brought_in(src, tmp_path / "out", labels=labels)
    assert report.format == "palette"
    assert report.splits == {"val": 20}
    for stem, mask in found.items():
        np.testing.assert_array_equal(mask, read_mask(src / f"SegmentationClass/{stem}.png"))
        image = (tmp_path / f"out/images/{stem}.jpg").read_bytes()
        assert image == (src / f"JPEGImages/{stem}.jpg").read_bytes()


def test_vessels_are_the_masks_of_retina_pictures_not_the_field_of_view(tmp_path: Path) -> None:
    """As in DRIVE, whose folder mask/ shows the round field of view."""
    for split, end in (("training", "training"), ("test", "test")):
        picture(tmp_path / f"src/{split}/images/21_{end}.tif")
        mask_file(tmp_path / f"src/{split}/1st_manual/21_manual1.png", rows("0011....", *["........"] * 5))
        mask_file(tmp_path / f"src/{split}/mask/21_{end}_mask.png", rows(*["11111111"] * 6))
    (tmp_path / "src/labels.yaml").write_text("classes: [background, vessel]\n")
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    assert report.splits == {"train": 1, "test": 1}
    assert {int(mask.sum()) for mask in found.values()} == {2}
    assert "left out 2 pictures in folders that were not read: test/mask 1, training/mask 1" in report.notes


def test_of_two_observers_the_first_counts(tmp_path: Path) -> None:
    picture(tmp_path / "src/Image_01L.jpg")
    mask_file(tmp_path / "src/Image_01L_1stHO.png", MASK)
    mask_file(tmp_path / "src/Image_01L_2ndHO.png", np.zeros_like(MASK))
    (tmp_path / "src/labels.yaml").write_text(LABELS)
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    np.testing.assert_array_equal(found["Image_01L"], MASK)
    assert report.notes == ("left out 1 further mask of the same pictures (colours, instances ...)",)


def test_other_masks_of_the_same_pictures_are_named(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    mask_file(src / "annotations/a_annotation.png", MASK)
    picture(src / "example.png")
    report, _ = brought_in(src, tmp_path / "out")
    assert report.notes == ("left out 2 pictures in folders that were not read: annotations 1, src 1",)
    (src / "labels.yaml").unlink()
    fails(src, tmp_path / "no", "palette", f"the masks in {src / 'masks'}", f"write a labels.yaml in {src},")


@pytest.mark.parametrize(
    ("images", "masks", "splits"),
    [
        (["Training_Images"], ["Ground_Truth"], {}),
        (["original_images"], ["label_images_semantic"], {}),
        (["img_a_train", "img_a_test"], ["label_a_train", "label_a_test"], {"train": 2, "test": 2}),
        (["img_dir/train", "img_dir/val"], ["ann_dir/train", "ann_dir/val"], {"train": 2, "val": 2}),
        (["trainImages", "valImages"], ["trainMasks", "valMasks"], {"train": 2, "val": 2}),
    ],
)  # fmt: skip
def test_folders_named_in_other_ways(
    tmp_path: Path, images: list[str], masks: list[str], splits: dict[str, int]
) -> None:
    for pictures, labels in zip(images, masks, strict=True):
        made(tmp_path / "src", pictures, labels)
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    assert report.splits == splits
    assert len(found) == report.pictures == 2 * len(images)
    assert "img_dir" in images[0] or f"used {images[0]} as pictures and {masks[0]} as masks" in report.notes


def test_a_mask_may_differ_from_its_picture_in_the_suffix_only(tmp_path: Path) -> None:
    for folder in ("crack/Imgs", "fray/Imgs"):
        made(tmp_path / "src", folder, folder)
    picture(tmp_path / "src/overview.jpg")
    picture(tmp_path / "src/overview.png")
    report, found = brought_in(tmp_path / "src", tmp_path / "out")
    assert sorted(found) == ["crack_a", "crack_b", "fray_a", "fray_b"]
    np.testing.assert_array_equal(found["crack_a"], MASK)
    assert report.notes == (
        "left out 2 pictures in folders that were not read: src 2",
        "used JPEG files as pictures, and the files of the same names next to them as masks",
    )


def test_black_and_white_masks_without_classes_are_said(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "labels.yaml").unlink()
    mask_file(src / "masks/a.png", MASK.clip(0, 1) * 255)
    mask_file(src / "masks/b.png", MASK.clip(0, 1) * 255)
    fails(src, tmp_path / "out", "palette", "contain 0, 255: black and white, add --threshold 128")


def test_the_class_names_that_labelme_writes_beside_its_masks_are_read(tmp_path: Path) -> None:
    src = made(tmp_path / "src", "JPEGImages", "SegmentationClass")
    (src / "labels.yaml").rename(src / "class_names.txt").write_text("_background_\nroad\ncar\n")
    report, _ = brought_in(src, tmp_path / "out")
    assert report.class_names == ("_background_", "road", "car")


def test_masks_of_numbers_and_of_colours_in_one_folder_are_said(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "labels.yaml").unlink()
    mask_file(src / "masks/b.png", np.full((6, 8, 3), 255))
    fails(src, tmp_path / "out", "palette", "contain 0, 1, 2, 255, (255, 255, 255)")
