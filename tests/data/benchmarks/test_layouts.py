"""Every benchmark in its official layouts, on tiny roots: splits, ids, void, and what it says if amiss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from refineseg.data import open_data
from refineseg.data.benchmarks import camvid, cityscapes, nyudv2, pascal_context, person_part, sunrgbd
from refineseg.data.dataset import SegmentationData
from refineseg.data.images import read_mask
from refineseg.data.registry import find_benchmark
from refineseg.errors import InputError, LabelError
from refineseg.labels import IGNORE
from tests.data.benchmarks import roots


def stems(data: SegmentationData) -> dict[str, list[str]]:
    return {split: [sample.stem for sample in samples] for split, samples in data.splits.items()}


# PASCAL VOC ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_from_any_of_its_folders(tmp_path: Path, below: str) -> None:
    data = open_data(f"voc2012:{roots.voc2012(tmp_path) / below}")
    assert stems(data) == {"train": ["2007_000032", "2007_000039"], "val": ["2007_000033"]}
    _, labels = data.read(data.split("val")[0])
    assert set(np.unique(labels)) == {*range(21), IGNORE}


def test_voc_with_sbd_leaves_val_out_and_prefers_vocs_masks(tmp_path: Path) -> None:
    roots.voc2012(tmp_path, train=["a"], val=["b"])
    roots.sbd(tmp_path / "benchmark_RELEASE" / "dataset", train=["a", "c"], val=["b", "d"])
    for stem in "cd":
        roots.picture(tmp_path / "VOCdevkit/VOC2012/JPEGImages" / f"{stem}.jpg")
    data = open_data(f"voc2012:{tmp_path}")
    assert stems(data) == {"train": ["a", "c", "d"], "val": ["b"]}
    masks = {sample.stem: sample.mask for split in data.splits.values() for sample in split}
    assert {stem: path.suffix for stem, path in masks.items() if path} == {
        "a": ".png",
        "b": ".png",
        "c": ".mat",
        "d": ".mat",
    }
    _, labels = data.read(data.split("train")[1])
    assert np.array_equal(labels, roots.values("sbd c", range(21)))


def test_voc_takes_trainaug_with_png_masks(tmp_path: Path) -> None:
    voc = roots.voc2012(tmp_path) / "VOCdevkit" / "VOC2012"
    roots.listing(voc / "ImageSets/Segmentation/trainaug.txt", ["2007_000032", "2008_000019"])
    roots.picture(voc / "JPEGImages" / "2008_000019.jpg")
    roots.mask(voc / "SegmentationClassAug" / "2007_000032.png", roots.values("other", range(21)))
    roots.mask(voc / "SegmentationClassAug" / "2008_000019.png", roots.values("aug", range(21)))
    data = open_data(f"voc2012:{tmp_path}")
    assert stems(data)["train"] == ["2007_000032", "2008_000019"]
    _, labels = data.read(data.split("train")[0])  # VOC's own mask comes first
    assert np.array_equal(labels, roots.values("2007_000032", [*range(21), 255]))
    _, labels = data.read(data.split("train")[1])
    assert np.array_equal(labels, roots.values("aug", range(21)))


def test_voc_names_a_mask_that_is_not_there(tmp_path: Path) -> None:
    roots.voc2012(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png").unlink()
    with pytest.raises(InputError, match=r"of val.*none for 1, such as 2007_000033"):
        open_data(f"voc2012:{tmp_path}")


# Cityscapes ------------------------------------------------------------------------------------------------


def test_cityscapes_reads_label_ids_and_no_instances(tmp_path: Path) -> None:
    data = open_data(f"cityscapes:{roots.cityscapes(tmp_path)}")
    assert stems(data) == {
        "train": ["aachen_000000_000019", "aachen_000001_000019"],
        "val": ["lindau_000000_000019"],
        "test": ["berlin_000000_000019"],
    }
    sample = data.split("val")[0]
    _, labels = data.read(sample)
    assert sample.mask is not None
    raw = read_mask(sample.mask)
    assert set(np.unique(labels)) == {*range(19), IGNORE}
    assert set(np.unique(raw[labels == IGNORE])) == set(cityscapes.IGNORED)
    # What the server gets is the labelId again.
    sent = data.label_map.submission(labels)
    assert np.array_equal(sent[labels != IGNORE], raw[labels != IGNORE])
    assert not sent[labels == IGNORE].any()


def test_cityscapes_numbers_every_label_id_once() -> None:
    evaluated = [numbers[0] for group in cityscapes.CLASSES.values() for numbers in group.values()]
    assert sorted(evaluated + [value for value in cityscapes.IGNORED if value != 255]) == list(range(34))


def test_cityscapes_test_split_opens_without_labels(tmp_path: Path) -> None:
    data = open_data(f"cityscapes:{roots.cityscapes(tmp_path)}")
    sample = data.split("test")[0]
    assert sample.mask is None
    with pytest.raises(InputError, match="expected a mask"):
        data.read(sample)


def test_cityscapes_names_the_missing_archive(tmp_path: Path) -> None:
    roots.cityscapes(tmp_path)
    (tmp_path / "gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(InputError, match=r"gtFine_trainvaltest\.zip"):
        open_data(f"cityscapes:{tmp_path}")


# ADE20K ----------------------------------------------------------------------------------------------------


def test_ade20k_is_off_by_one_and_void_at_zero(tmp_path: Path) -> None:
    data = open_data(f"ade20k:{roots.ade20k(tmp_path)}")
    assert [len(data.split(split)) for split in ("train", "val")] == [2, 1]
    sample = data.split("val")[0]
    _, labels = data.read(sample)
    assert sample.mask is not None
    raw = read_mask(sample.mask)
    assert np.array_equal(labels[raw > 0], raw[raw > 0] - 1)
    assert (labels[raw == 0] == IGNORE).all()
    assert np.array_equal(data.label_map.submission(labels), raw)


# NYUDv2 ----------------------------------------------------------------------------------------------------


def test_nyudv2_folders_with_lists(tmp_path: Path) -> None:
    roots.nyudv2(tmp_path)
    roots.listing(tmp_path / "train.txt", ["000003", "images/000001.png labels40/000001.png"])
    roots.listing(tmp_path / "test.txt", ["000002"])
    data = open_data(f"nyudv2:{tmp_path}")
    assert stems(data) == {"train": ["000003", "000001"], "val": ["000002"]}
    _, labels = data.read(data.split("train")[0])
    raw = roots.values("3", range(41), (468, 625))
    assert np.array_equal(labels, np.where(raw == 0, IGNORE, raw - 1))


def test_nyudv2_folders_with_the_official_split_file(tmp_path: Path) -> None:
    roots.nyudv2(tmp_path)
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1], [3], [9]], "testNdxs": [[2]]})
    assert stems(open_data(f"nyudv2:{tmp_path}")) == {"train": ["000001", "000003"], "val": ["000002"]}
    savemat(tmp_path / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    split = {"train": ["000001"], "val": ["000002"], "all": ["000003"]}  # none is left out without a word
    assert stems(open_data(f"nyudv2:{tmp_path}")) == split


def test_nyudv2_without_a_list_has_no_official_split(tmp_path: Path) -> None:
    data = open_data(f"nyudv2:{roots.nyudv2(tmp_path)}")
    assert stems(data) == {"all": ["000001", "000002", "000003"]}
    with pytest.raises(InputError, match=r"split 'val'.*\['all'\]"):
        data.split("val")


@pytest.mark.parametrize(
    ("picture", "mask"), [((480, 640), (480, 640)), ((468, 625), (480, 640)), ((480, 640), (468, 625))]
)
def test_nyudv2_cuts_the_border_of_whichever_has_it(
    tmp_path: Path, picture: tuple[int, int], mask: tuple[int, int]
) -> None:
    roots.nyudv2(tmp_path, [7], picture)
    full = np.zeros((480, 640), np.uint8)
    full[6:474, 7:632] = 1 + np.arange(468)[:, None] % 40
    roots.mask(tmp_path / "labels40" / "000007.png", full if mask == (480, 640) else full[6:474, 7:632])
    image, labels = (data := open_data(f"nyudv2:{tmp_path}")).read(data.split("all")[0])
    assert image.shape == (468, 625, 3)
    assert np.array_equal(labels, np.broadcast_to((np.arange(468) % 40)[:, None], (468, 625)))


def test_nyudv2_from_the_mat_file_as_distributed(tmp_path: Path) -> None:
    pictures, masks = roots.nyudv2_mat(tmp_path)
    data = open_data(f"nyudv2:{tmp_path}")
    assert stems(data) == {"train": ["000001", "000003"], "val": ["000002"]}
    for split, numbers in (("train", (0, 2)), ("val", (1,))):
        for sample, number in zip(data.split(split), numbers, strict=True):
            image, labels = data.read(sample)
            truth = masks[number, 6:474, 7:632]
            assert np.array_equal(image, pictures[number, 6:474, 7:632])
            assert np.array_equal(labels, np.where(truth == 0, IGNORE, truth - 1))


def test_nyudv2_says_what_the_mat_file_needs(tmp_path: Path) -> None:
    roots.nyudv2_mat(tmp_path, 1)
    (tmp_path / "classMapping40.mat").unlink()
    with pytest.raises(InputError, match=r"expected classMapping40\.mat"):
        open_data(f"nyudv2:{tmp_path}")


def test_nyudv2_official_split_names_its_variables(tmp_path: Path) -> None:
    savemat(tmp_path / "splits.mat", {"other": 1})
    with pytest.raises(InputError, match="trainNdxs"):
        nyudv2.official_split(tmp_path / "splits.mat")


# SUN RGB-D -------------------------------------------------------------------------------------------------


def test_sunrgbd_splits_by_number(tmp_path: Path) -> None:
    data = open_data(f"sunrgbd:{roots.sunrgbd(tmp_path)}")
    assert stems(data) == {"val": ["img-000012", "img-005050"], "train": ["img-005051", "img-010335"]}
    _, labels = data.read(data.split("val")[0])
    raw = roots.values("12", range(38))
    assert np.array_equal(labels, np.where(raw == 0, IGNORE, raw - 1))


@pytest.mark.parametrize(
    ("stem", "split"), [("1", "val"), ("img-005051", "train"), ("0", "all"), ("10336", "all"), ("room", "all")]
)
def test_sunrgbd_split_of_a_name(stem: str, split: str) -> None:
    assert sunrgbd.official_split(stem) == split


def test_sunrgbd_pictures_alone_open_unlabelled(tmp_path: Path) -> None:
    data = open_data(f"sunrgbd:{roots.sunrgbd(tmp_path, masked=False)}")
    assert {sample.mask for split in data.splits.values() for sample in split} == {None}
    with pytest.raises(InputError, match="expected a mask"):
        data.read(data.split("val")[0])


def test_sunrgbd_pairs_12_with_000012_and_names_what_is_missing(tmp_path: Path) -> None:
    roots.picture(tmp_path / "images" / "12.jpg")
    roots.mask(tmp_path / "labels37" / "img-000012.png", roots.values("12", range(38)))
    data = open_data(f"sunrgbd:{tmp_path}")
    assert data.read(data.split("val")[0])[1].shape == roots.SIZE
    roots.picture(tmp_path / "images" / "13.jpg")
    with pytest.raises(InputError, match="none for 1, such as 13"):
        open_data(f"sunrgbd:{tmp_path}")


# PASCAL-Context --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["index", "color", "mat"])
def test_pascal_context_in_its_three_forms(tmp_path: Path, form: str) -> None:
    truth = roots.pascal_context(tmp_path, form)
    data = open_data(f"pascal-context:{tmp_path}")
    assert stems(data) == {"train": ["2008_000002", "2008_000003"], "val": ["2008_000004"]}
    assert data.label_map.names == find_benchmark("pascal-context").label_map().names
    raw = truth["2008_000004"]
    _, labels = data.read(data.split("val")[0])
    if form == "mat":
        expected = np.vectorize(
            lambda number: pascal_context.NUMBERS.index(number) if number in pascal_context.NUMBERS else 0
        )
        assert np.array_equal(labels, expected(raw))
    else:
        assert np.array_equal(labels, raw)


def test_pascal_context_numbers_are_alphabetical_among_the_459() -> None:
    """The .mat files' 459 names are in the alphabet's order, and so are the numbers of the 59 by their names."""
    pairs = sorted(zip(pascal_context.NUMBERS[1:], pascal_context.NAMES[1:], strict=True))
    assert len({number for number, _ in pairs}) == 59
    assert [name for _, name in pairs] == sorted(name for _, name in pairs)


def test_pascal_context_refuses_other_forms() -> None:
    with pytest.raises(InputError, match="index, color or mat"):
        pascal_context.label_map("jpeg")


# Person-Part -----------------------------------------------------------------------------------------------


def test_person_part_published_masks(tmp_path: Path) -> None:
    data = open_data(f"person-part:{roots.person_part(tmp_path)}")
    assert stems(data) == {"train": ["2008_000003", "2008_000008"], "val": ["2008_000026"]}
    _, labels = data.read(data.split("val")[0])
    assert np.array_equal(labels, roots.values("2008_000026", [*range(7), 255]))


def test_person_part_has_no_left_and_right() -> None:
    assert np.array_equal(person_part.label_map().mirrored, np.arange(256))
    # Left and right parts of PASCAL-Part fall together.
    for name, train_id in person_part.PARTS.items():
        if name[0] == "l":
            assert person_part.PARTS[f"r{name[1:]}"] == train_id
    assert len(person_part.PARTS) == 24


def test_person_part_merges_pascal_part(tmp_path: Path) -> None:
    roots.picture(tmp_path / "JPEGImages" / "2008_000003.jpg")
    columns = np.zeros((9, *roots.SIZE), np.uint8)
    for column in range(8):
        columns[column, :, column] = 1
    person = {
        "head": columns[0],
        "lear": columns[1],
        "neck": columns[2],
        "luarm": columns[3],
        "rhand": columns[4],
        "rlleg": columns[5],
    }
    second = {"torso": columns[5], "ruleg": columns[6]}  # lies over the first one's leg
    horse = {"head": columns[7]}
    roots.pascal_part(
        tmp_path / "Annotations_Part" / "2008_000003.mat",
        [("person", person), ("horse", horse), ("person", second)],
    )
    data = open_data(f"person-part:{tmp_path}")
    _, labels = data.read(data.split("all")[0])
    assert labels[0].tolist() == [1, 1, 2, 3, 4, 2, 5, 0]
    assert (labels == labels[0]).all()


def test_person_part_names_a_part_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    roots.pascal_part(path, [("person", {"tail": np.ones(roots.SIZE, np.uint8)})])
    with pytest.raises(InputError, match="got tail"):
        person_part.merge_parts(path)
    roots.pascal_part(path, [("bus", {})])
    merged = person_part.merge_parts(path)
    assert merged is not None
    assert not merged.any()


# CamVid ----------------------------------------------------------------------------------------------------


def test_camvid_original_merges_32_colors_and_splits_by_drive(tmp_path: Path) -> None:
    data = open_data(f"camvid:{roots.camvid_original(tmp_path)}")
    assert stems(data) == {
        "train": ["0001TP_006690", "0006R0_f00930", "0016E5_08161"],
        "val": ["0016E5_07959"],
        "test": ["0001TP_008550", "Seq05VD_f00000"],
    }
    assert data.label_map.names == camvid.label_map().names
    _, labels = data.read(data.split("val")[0])
    merged_to = [train_id for train_id, merged in enumerate(camvid.ORIGINAL.values()) for _ in merged] + [IGNORE]
    assert np.array_equal(labels, np.array(merged_to, np.uint8)[roots.values("0016E5_07959", range(32))])


def test_camvid_original_has_32_names_and_colors() -> None:
    names = [name for merged in camvid.ORIGINAL.values() for name in merged]
    colors = {color for merged in camvid.ORIGINAL.values() for color in merged.values()} | {camvid.ORIGINAL_VOID}
    assert len(names) == len(set(names)) == 31
    assert len(colors) == 32
    for item in camvid.label_map().classes:
        assert item.color in camvid.ORIGINAL[item.name].values()


def test_camvid_original_takes_lists_where_there_are_some(tmp_path: Path) -> None:
    roots.camvid_original(tmp_path)
    roots.listing(tmp_path / "val.txt", ["/SegNet/CamVid/val/0006R0_f00930.png x"])
    assert stems(open_data(f"camvid:{tmp_path}")) == {"val": ["0006R0_f00930"]}


def test_camvid_original_refuses_an_unknown_color(tmp_path: Path) -> None:
    roots.camvid_original(tmp_path)
    path = tmp_path / "LabeledApproved_full" / "0016E5_07959_L.png"
    pixels = np.array(Image.open(path))
    pixels[0, 0] = (127, 0, 0)
    Image.fromarray(pixels).save(path)
    data = open_data(f"camvid:{tmp_path}")
    with pytest.raises(LabelError, match=r"0016E5_07959_L\.png.*\(127, 0, 0\) \(1 pixel\)"):
        data.read(data.split("val")[0])
