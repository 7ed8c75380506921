from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from refineseg.data import open_data, read_mask
from refineseg.data.formats import ImportOptions, ReadOptions, import_data
from refineseg.data.formats.parsing.find_pictures import picture_shape, split_in_name
from refineseg.data.formats.transfer.pair_files import unique_names
from refineseg.errors import InputError
from tests.data.formats import test_labelme, test_palette
from tests.data.formats.helpers import brought_in, fails, mask_file, picture


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in files}


@pytest.mark.parametrize("link", [False, True])
def test_the_source_is_only_read(tmp_path: Path, link: bool) -> None:
    src = test_palette.made(tmp_path / "src")
    before = snapshot(src)
    seen: list[tuple[int, int]] = []
    import_data(
        src,
        tmp_path / "deep/out",
        how=ImportOptions(link=link),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]
    assert snapshot(src) == before
    image = tmp_path / "deep/out/images/a.jpg"
    assert (image.stat().st_ino == (src / "images/a.jpg").stat().st_ino) is link
    assert sorted(path.name for path in (tmp_path / "deep/out").iterdir()) == ["images", "labels.yaml", "masks"]


def test_masks_are_palette_pictures_of_train_ids(tmp_path: Path) -> None:
    src = test_palette.made(tmp_path / "src")
    import_data(src, tmp_path / "out")
    with Image.open(tmp_path / "out/masks/a.png") as image:
        assert image.mode == "P"
        assert (image.getpalette() or [])[3:6] == [230, 159, 0]
    np.testing.assert_array_equal(read_mask(tmp_path / "out/masks/a.png"), test_palette.MASK)
    sample = open_data(f"folder:{tmp_path / 'out'}").split("train")[0]
    pixels, labels = open_data(f"folder:{tmp_path / 'out'}").read(sample)
    assert pixels.shape[:2] == labels.shape == (6, 8)


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    src = test_palette.made(tmp_path / "src")
    mask_file(src / "masks/b.png", np.full((6, 8), 9))
    fails(src, tmp_path / "out", "palette", "b.png")
    with pytest.raises(KeyboardInterrupt):
        import_data(test_palette.made(tmp_path / "good"), tmp_path / "out", progress=_interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "src"]


def _interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_the_place_must_be_new_and_outside(tmp_path: Path) -> None:
    src = test_palette.made(tmp_path / "src")
    with pytest.raises(InputError, match="outside the source"):
        import_data(src, src / "out")
    (tmp_path / "empty").mkdir()
    import_data(src, tmp_path / "empty")
    with pytest.raises(InputError, match="already exists"):
        import_data(src, tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="already exists"):
        import_data(src, tmp_path / "file")
    with pytest.raises(InputError, match="got the file"):
        import_data(src, tmp_path / "file/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_place_without_permission_is_said(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot write"):
        import_data(test_palette.made(tmp_path / "src"), tmp_path / "locked/out")


def test_splits_with_blanks_in_names_open_again(tmp_path: Path) -> None:
    src = test_palette.made(tmp_path / "src")
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        (src / folder / f"a.{suffix}").rename(src / folder / f"my a, 1.{suffix}")
    (src / "train.txt").write_text("my a\n")
    fails(src, tmp_path / "out", "palette", "lists my a")
    (src / "train.txt").write_text("b\n")
    (src / "val.txt").unlink(missing_ok=True)
    report, masks = brought_in(src, tmp_path / "out")
    assert report.splits == {"train": 1}
    assert list(masks) == ["b"]


@pytest.mark.parametrize(
    "line", ["b", "b.jpg", "images/b.jpg", "./images/b", "/home/someone/set/images/b.jpg", "images\\b.jpg"]
)
def test_split_lists_may_name_pictures_with_folders(line: str, tmp_path: Path) -> None:
    """LabelMeFacade's train.txt has lines such as images/x.jpg."""
    src = test_palette.made(tmp_path / "src")
    (src / "train.txt").write_text(f"{line}\n")
    (src / "val.txt").unlink(missing_ok=True)
    report, masks = brought_in(src, tmp_path / "out")
    assert report.splits == {"train": 1}
    assert list(masks) == ["b"]


def test_folders_in_a_split_list_tell_pictures_of_one_name_apart(tmp_path: Path) -> None:
    src = tmp_path / "src"
    for folder in ("north", "south"):
        test_palette.made(src / folder)
    (src / "train.txt").write_text("north/images/b.jpg\nsouth/b\n")
    report, masks = brought_in(src, tmp_path / "out")
    assert report.splits == {"train": 2}
    assert list(masks) == ["north_b", "south_b"]


def test_an_unlabelled_test_set_takes_no_masks_of_train(tmp_path: Path) -> None:
    """As in IDD-Lite: pictures of the test set have names of train, in other subfolders."""
    src, red = tmp_path / "src", Image.new("RGB", (8, 6), "red")
    for file in ("train/1/a", "train/2/b", "test/7/a", "test/8/c"):
        path = src / "leftImg8bit" / f"{file}_image.png"
        path.parent.mkdir(parents=True)
        red.save(path)
    for file in ("train/1/a", "train/2/b", "train/3/c"):  # of the last one the picture is missing
        path = src / "gtFine" / f"{file}_label.png"
        path.parent.mkdir(parents=True)
        Image.new("L", (8, 6), 1).save(path)
    (src / "labels.yaml").write_text("classes: [road, sky]\n")
    report, masks = brought_in(src, tmp_path / "out")
    assert report.splits == {"train": 2}
    assert sorted(masks) == ["a_image", "b_image"]
    assert any(note.startswith("left out 2 pictures without annotation") for note in report.notes)
    assert any(note.startswith("left out 1 mask without a picture: c_label.png") for note in report.notes)


def test_pictures_turned_by_exif_are_measured_as_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=exif)
    assert picture_shape(tmp_path / "a.jpg") == (8, 6)
    with pytest.raises(InputError, match="not found"):
        picture_shape(tmp_path / "b.jpg")


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("instances_train2017", "train"),
        ("val", "val"),
        ("Validation", "val"),
        ("my-test-set", "test"),
        ("training", "train"),
        ("trainval", None),
        ("train_val", None),
        ("retrain", None),
        ("", None),
    ],
)
def test_splits_in_names(text: str, split: str | None) -> None:
    assert split_in_name(text) == split


def test_names_by_hand() -> None:
    assert unique_names(["a/1", "b/2"]) == ["1", "2"]
    assert unique_names(["a/1", "b/1", "c/x"]) == ["a_1", "b_1", "x"]
    assert unique_names(["A", "a"]) == ["A", "a_2"]
    assert unique_names(["my photo #1", "../up", ".hidden", "a.b"]) == ["my_photo__1", "up", "hidden", "a.b"]


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=8))
def test_names_are_different_files_on_every_system(names: list[str]) -> None:
    found = unique_names(names)
    assert len({name.lower() for name in found}) == len(names)
    for name in found:
        assert name
        assert not set(name) & set('/\\:*?"<>| \n\x00')
        assert name[0] != "."


def test_long_names_are_cut(tmp_path: Path) -> None:
    found = unique_names(["x/" + "é" * 300, "y/" + "é" * 300])
    assert len(set(found)) == 2
    assert all(len(name.encode()) < 240 for name in found)


def test_unlabelled_and_images_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="background or ignore"):
        ReadOptions(unlabelled="nothing")
    with pytest.raises(InputError, match="gone"):
        ReadOptions(images=tmp_path / "gone")


def test_pictures_elsewhere(tmp_path: Path) -> None:
    src = test_labelme.made(tmp_path / "src", test_labelme.GOOD)
    (src / "a.png").unlink()
    picture(tmp_path / "photos/a.png", seed=5)
    _, masks = brought_in(src, tmp_path / "out", images=tmp_path / "photos")
    assert list(masks) == ["a"]
    assert (tmp_path / "out/images/a.png").read_bytes() == (tmp_path / "photos/a.png").read_bytes()
