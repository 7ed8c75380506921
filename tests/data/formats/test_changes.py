"""What is changed on the way of an import: classes, splits, sizes, masks by a threshold; and what is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refineseg.data.formats import ClassEdits, ImportOptions, ReadOptions, import_data
from refineseg.data.formats.transfer.import_options import SplitOptions, parse_shares
from refineseg.errors import InputError
from refineseg.labels import UInt8
from tests.data.formats import test_labelme
from tests.data.formats.helpers import brought_in, fails, mask_file, picture, rows, write_json

STRIPES = rows(*["00112233"] * 6)  # ground, car, bus, pole
TWO = rows(*["00001111"] * 6)


def of_numbers(folder: Path) -> Path:
    picture(folder / "images/a.png")
    mask_file(folder / "masks/a.png", STRIPES)
    (folder / "labels.yaml").write_text("classes: [background, car, bus, pole]\n")
    return folder


def of_outlines(folder: Path) -> Path:
    """The same stripes as LabelMe's boxes."""
    picture(folder / "a.png")
    shapes = [
        {"label": name, "shape_type": "rectangle", "points": [[x, 0], [x + 2, 6]]}
        for name, x in (("car", 2), ("bus", 4), ("pole", 6))
    ]
    document = {"shapes": shapes, "imagePath": "a.png", "imageHeight": 6, "imageWidth": 8}
    write_json(folder / "a.json", document)
    return folder


@pytest.mark.parametrize("source", [of_numbers, of_outlines])
@pytest.mark.parametrize(
    ("edits", "names", "stripes"),
    [
        (ClassEdits(merge={"car": ["bus"]}), {"background", "car", "pole"}, ["background", "car", "car", "pole"]),
        (ClassEdits(merge={"vehicle": ["car", "bus"]}), {"background", "vehicle", "pole"}, None),
        (ClassEdits(drop=["pole"]), {"background", "car", "bus"}, ["background", "car", "bus", "background"]),
        (ClassEdits(rename={"pole": "post"}), {"background", "car", "bus", "post"}, None),
        (ClassEdits({"car": ["bus"]}, ["pole"], {"car": "vehicle"}), {"background", "vehicle"}, None),
    ],
)
def test_classes_are_merged_dropped_and_renamed(
    tmp_path: Path, source: Any, edits: ClassEdits, names: set[str], stripes: list[str] | None
) -> None:
    report, masks = brought_in(source(tmp_path / "src"), tmp_path / "out", edits=edits)
    assert set(report.class_names) == names
    assert (masks["a"] == masks["a"][0]).all()
    if stripes is not None:
        assert [report.class_names[value] for value in masks["a"][0, ::2]] == stripes


@pytest.mark.parametrize("source", [of_numbers, of_outlines])
def test_classes_that_are_not_there_cannot_be_changed(tmp_path: Path, source: Any) -> None:
    src = source(tmp_path / "src")
    for edits in (ClassEdits(drop=["poles"]), ClassEdits(rename={"x": "y"}), ClassEdits(merge={"car": ["lorry"]})):
        with pytest.raises(InputError, match=r"merge, drop or rename of .*car.*got '(poles|x|lorry)'"):
            import_data(src, tmp_path / "out", options=ReadOptions(edits=edits))


def test_splits_keep_groups_whole_and_spread_classes(tmp_path: Path) -> None:
    for group in range(5):
        for index in range(4):
            picture(tmp_path / f"src/images/film{group}/{index}.png")
            mask_file(tmp_path / f"src/masks/film{group}/{index}.png", TWO)
    (tmp_path / "src/labels.yaml").write_text("classes: [ground, car]\n")
    shares = parse_shares("0.6/0.2/0.2")
    how = ImportOptions(split=SplitOptions(shares, seed=1, group="folder"))
    report = import_data(tmp_path / "src", tmp_path / "out", how=how)
    assert report.splits == {"train": 12, "val": 4, "test": 4}
    films = {
        split: {name.split("_")[0] for name in (tmp_path / f"out/{split}.txt").read_text().split()}
        for split in report.splits
    }
    assert sorted(film for names in films.values() for film in names) == [f"film{index}" for index in range(5)]
    again = import_data(tmp_path / "src", tmp_path / "again", how=how)
    assert again.splits == report.splits
    assert (tmp_path / "again/val.txt").read_text() == (tmp_path / "out/val.txt").read_text()
    for text in ("0.8", "0.5/0.6", "a/b", "0.8/0.2/0/0", "1/0"):
        with pytest.raises(InputError, match=r"0\.8/0\.1/0\.1"):
            parse_shares(text)


@pytest.mark.parametrize(("suffix", "written"), [("png", "png"), ("jpg", "jpg"), ("bmp", "png")])
def test_large_pictures_are_scaled_down_with_their_masks(tmp_path: Path, suffix: str, written: str) -> None:
    """8x6 to 4x3: a mask's pixel is the one at the centre of its 2x2, the lower right of the middle four."""
    picture(tmp_path / f"src/images/a.{suffix}")
    mask = np.arange(48, dtype=np.uint8).reshape(6, 8)
    mask_file(tmp_path / "src/masks/a.png", mask)
    (tmp_path / "src/labels.yaml").write_text(f"classes: [{', '.join(f'c{i}' for i in range(48))}]\n")
    report, masks = brought_in(tmp_path / "src", tmp_path / "out", how=ImportOptions(max_side=4))
    assert any("scaled down 1 picture to 4 pixels" in note for note in report.notes)
    np.testing.assert_array_equal(masks["a"], mask[1::2, 1::2])
    with Image.open(tmp_path / f"out/images/a.{written}") as image:
        assert image.size == (4, 3)
    kept = import_data(tmp_path / "src", tmp_path / "kept", how=ImportOptions(max_side=8))
    assert not any("scaled" in note for note in kept.notes)


# Masks of black and white ----------------------------------------------------------------------------------


def black_and_white(folder: Path, suffix: str, labels: str, mode: str = "L") -> Path:
    """Two pictures; masks of 0 and 255 whose edge has values between where they are JPEG files."""
    for name in ("a", "b"):
        picture(folder / f"images/{name}.png", 16, 16)
        (folder / "masks").mkdir(exist_ok=True)
        mask = Image.fromarray(np.repeat(np.where(np.arange(16) < 7, 0, 255)[None], 16, 0).astype(np.uint8))
        mask.convert(mode).save(folder / f"masks/{name}.{suffix}", quality=60)
    (folder / "labels.yaml").write_text(labels)
    return folder


RIGHT: UInt8 = np.repeat((np.arange(16) >= 7)[None], 16, 0).astype(np.uint8)
PLAIN = "classes: [ground, pond]\n"


@pytest.mark.parametrize(("suffix", "mode"), [("jpg", "L"), ("jpg", "RGB"), ("png", "P"), ("tif", "L")])
def test_a_threshold_reads_masks_of_black_and_white(tmp_path: Path, suffix: str, mode: str) -> None:
    src = black_and_white(tmp_path / "src", suffix, PLAIN, mode)
    report, masks = brought_in(src, tmp_path / "out", threshold=128)
    assert (report.class_names, report.warnings) == (("ground", "pond"), ())
    for mask in masks.values():
        np.testing.assert_array_equal(mask, RIGHT)
    (src / "labels.yaml").write_text(PLAIN + "threshold: 128\n")  # as in a folder data set
    np.testing.assert_array_equal(brought_in(src, tmp_path / "own")[1]["b"], RIGHT)


def test_a_threshold_is_for_masks_of_two_classes(tmp_path: Path) -> None:
    src = black_and_white(tmp_path / "src", "png", "classes: [a, b, c]\n")
    fails(src, tmp_path / "out", "palette", "expected two classes", "a, b, c", threshold=128)
    outlines = test_labelme.made(tmp_path / "labelme", test_labelme.GOOD)
    fails(outlines, tmp_path / "out", "labelme", "expected masks (list, palette, rgb, tiff)", threshold=128)
    for value in (0, 256, True):
        with pytest.raises(InputError, match=r"1\.\.255"):
            ReadOptions(threshold=value)


def test_soft_masks_without_a_threshold_are_refused_with_the_way_out(tmp_path: Path) -> None:
    fails(black_and_white(tmp_path / "src", "jpg", PLAIN), tmp_path / "out", "palette", "--threshold 128")


def test_masks_of_0_and_255_are_refused_with_the_way_out(tmp_path: Path) -> None:
    """What check calls binary-0-255: the object would be ignored and never learned."""
    src = black_and_white(tmp_path / "src", "png", PLAIN + "ignore: [255]\n")
    fails(src, tmp_path / "out", "palette", "pond cannot be learned", "--threshold 128", "raw: 255")
    (src / "labels.yaml").write_text("classes: [ground, {name: pond, raw: 255}]\n")
    assert not import_data(src, tmp_path / "right").warnings


def test_classes_without_a_pixel_are_named(tmp_path: Path) -> None:
    src = of_numbers(tmp_path / "src")
    (src / "labels.yaml").write_text("classes: [background, car, bus, pole, rail]\n")
    assert "classes without a pixel in any mask: rail" in import_data(src, tmp_path / "out").notes
