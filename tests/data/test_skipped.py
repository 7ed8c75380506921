"""Nothing is skipped without a word: notes, names that clash, --drop-bad, thresholds, lists with marks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data import open_data
from refineseg.data.check import check_data
from refineseg.errors import InputError
from tests.data.made import make_folder
from tests.shared import shared


def lists(root: Path, train: str, val: str) -> None:
    (root / "train.txt").write_text(train, encoding="utf-8")
    (root / "val.txt").write_text(val, encoding="utf-8")


def test_a_clean_folder_with_lists_has_no_notes(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=3)
    lists(root, "p0\np1\n", "p2\n")
    assert open_data(f"folder:{root}").notes == ()


def test_what_is_skipped_is_counted_and_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=6)
    lists(root, "p0\np1\n", "p2\n")
    (root / "images" / "more").mkdir()
    for name in ("images/more/x.png", "beside.jpg"):
        shutil.copy(root / "images" / "p0.png", root / name)
    (root / "images" / "p5.png").unlink()
    (root / "images" / "p9.jxl").write_bytes(b"x")
    notes = open_data(f"folder:{root}").notes
    assert [note.split(", such as ")[0] for note in notes] == [
        "skipped 2 pictures in folders that are not read",
        "skipped 2 pictures in no split's list",
        "skipped 1 mask without a picture",
        "skipped 1 file of a kind that is not read",
    ]
    assert notes[3].endswith("p9.jxl")
    kinds = {item.kind: item.count for item in check_data(f"folder:{root}").findings}
    assert kinds["picture-elsewhere"] == 2
    assert (kinds["unlisted"], kinds["mask-without-image"], kinds["unread-file"]) == (2, 1, 1)


def test_pictures_beside_split_folders_are_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=4)
    for kind in ("images", "masks"):
        for split, stems in (("train", ("p0", "p1")), ("val", ("p2",))):
            (root / kind / split).mkdir()
            for stem in stems:
                (root / kind / f"{stem}.png").rename(root / kind / split / f"{stem}.png")
    data = open_data(f"folder:{root}")
    assert {name: len(items) for name, items in data.splits.items()} == {"train": 2, "val": 1}
    assert data.notes == (
        f"skipped 1 picture in folders that are not read, such as {root.resolve() / 'images' / 'p3.png'}",
    )


def test_what_is_held_out_is_said(tmp_path: Path) -> None:
    notes = open_data(f"folder:{make_folder(tmp_path, pictures=30)}").notes
    assert len(notes) == 1
    assert notes[0].startswith("no split lists: held out 3 of 30 pictures as val")


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_names_that_differ_in_the_suffix_are_refused(tmp_path: Path, folder: str) -> None:
    root = make_folder(tmp_path, pictures=3)
    Image.open(root / folder / "p1.png").convert("L").save(root / folder / "p1.bmp")
    with pytest.raises(InputError, match=r"p1\.bmp and p1\.png differ only in their suffix"):
        open_data(f"folder:{root}")
    assert "same-name" in {item.kind for item in check_data(f"folder:{root}").errors}


def test_masks_of_another_name_are_told(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=4)
    for index in range(4):
        (root / "images" / f"p{index}.png").rename(root / "images" / f"p{index}_image.png")
        (root / "masks" / f"p{index}.png").rename(root / "masks" / f"p{index}_annotation.png")
    with pytest.raises(InputError, match=r"none for 4, .*called STEM_annotation: refineseg data import"):
        open_data(f"folder:{root}")
    found = next(item for item in check_data(f"folder:{root}").errors if item.kind == "image-without-mask")
    assert "STEM_annotation" in found.fix


# --drop-bad ------------------------------------------------------------------------------------------------


def test_bad_pairs_are_left_out_counted_and_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=9)
    lists(root, "".join(f"p{index}\n" for index in range(7)) + "gone\n", "p7\np8\n")
    (root / "masks" / "p0.png").unlink()
    Image.fromarray(np.full((36, 48), 77, np.uint8)).save(root / "masks" / "p1.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(root / "masks" / "p2.png")
    (root / "images" / "p8.png").write_bytes(b"no picture")
    steps: list[tuple[int, int]] = []
    data = open_data(f"folder:{root}", drop_bad=True, progress=lambda done, total: steps.append((done, total)))
    assert [sample.stem for sample in data.split("train")] == ["p3", "p4", "p5", "p6"]
    assert [sample.stem for sample in data.split("val")] == ["p7"]
    assert steps[-1] == (8, 8)
    text = "\n".join(data.notes)
    assert "left out 1 picture without a mask, such as" in text
    assert "without a usable picture, such as p0" in text
    assert "left out 3 of 8 pairs that cannot be used:" in text
    assert "77 (1,728 pixels)" in text
    for samples in data.splits.values():
        for sample in samples:
            data.read(sample)


def test_too_many_bad_pairs_are_an_error(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=4)
    (root / "labels.yaml").write_text("classes: [only]\n")
    with pytest.raises(InputError, match="4 of 4 pairs cannot be used, too many to leave out; the first: "):
        open_data(f"folder:{root}", drop_bad=True)


# Thresholds ------------------------------------------------------------------------------------------------


def binary_folder(parent: Path, suffix: str, threshold: str) -> Path:
    """Masks as grey pictures: a bright square on dark ground."""
    root = make_folder(parent, pictures=4)
    (root / "labels.yaml").write_text(f"classes: [background, pond]\n{threshold}")
    for index in range(4):
        (root / "masks" / f"p{index}.png").unlink()
        mask = np.zeros((36, 48), np.uint8)
        mask[8:24, 8:32] = 255
        Image.fromarray(mask).save(root / "masks" / f"p{index}{suffix}")
    return root


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_threshold_reads_grey_masks(tmp_path: Path, suffix: str) -> None:
    root = binary_folder(tmp_path, suffix, "threshold: 128\n")
    data = open_data(f"folder:{root}")
    _, labels = data.read(data.split("train")[0])
    expected = np.zeros((36, 48), np.uint8)
    expected[8:24, 8:32] = 1
    assert np.array_equal(labels, expected)
    report = check_data(f"folder:{root}")
    assert not report.errors
    assert "jpeg-mask" not in {item.kind for item in report.findings}


def test_a_class_of_255_needs_no_ignore(tmp_path: Path) -> None:
    root = binary_folder(tmp_path, ".png", "")
    assert "threshold: 128" in check_data(f"folder:{root}").errors[0].fix
    (root / "labels.yaml").write_text("classes: [background, {name: pond, raw: 255}]\n")
    assert not check_data(f"folder:{root}").errors


@pytest.mark.parametrize("text", ["classes: [a, b, c]\nthreshold: 9\n", "classes: [a, b]\nthreshold: 0\n"])
def test_thresholds_that_cannot_be(tmp_path: Path, text: str) -> None:
    root = make_folder(tmp_path, pictures=2)
    (root / "labels.yaml").write_text(text)
    with pytest.raises(InputError, match="threshold"):
        open_data(f"folder:{root}")


# Files of strangers ----------------------------------------------------------------------------------------


def test_lists_and_descriptions_with_a_byte_order_mark(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=3)
    lists(root, "\ufeffp0\np1\n", "\ufeffp2\n")
    (root / "labels.yaml").write_text("\ufeffclasses: [background, box, other]\n", encoding="utf-8")
    data = open_data(f"folder:{root}")
    assert [sample.stem for sample in data.split("train")] == ["p0", "p1"]
    assert data.label_map.names == ["background", "box", "other"]


def test_two_masks_of_one_stem_from_strangers() -> None:
    root = shared("inputs", "strangers", "mk_dup_stem_masks2")
    with pytest.raises(InputError, match=r"a\.png and a\.tif differ only in their suffix"):
        open_data(f"folder:{root}")
    assert "same-name" in {item.kind for item in check_data(f"folder:{root}").errors}


def test_twelve_bits_in_sixteen_are_found_and_named() -> None:
    root = shared("inputs", "strangers", "png16_12bit")
    found = next(item for item in check_data(f"folder:{root}").findings if item.kind == "used-depth")
    assert (found.severity, found.count) == ("note", 12)
    assert "use 12 of them" in found.message
