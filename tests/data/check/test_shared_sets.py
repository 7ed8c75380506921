"""No false alarm on real, clean data: CamVid, Clothing Co-Parsing and the benchmarks' samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data.check import CheckReport, check_data
from tests.shared import shared

# True of these sets: four garments of Clothing Co-Parsing occur only in its held-back part, and a handful of
# pictures cannot show every class.
TRUE = {"absent-class", "class-not-in-train", "empty-split", "void-share"}


def _alarms(report: CheckReport) -> list[str]:
    return [f"{item.kind}: {item.message}" for item in (*report.errors, *report.warnings) if item.kind not in TRUE]


def _described(folder: Path, **values: object) -> str:
    path = folder / "data.yaml"
    path.write_text(json.dumps(values))
    return str(path)


def _clothing(tmp_path: Path) -> str:
    root = shared("data", "clothing_parsing")
    names = json.loads((root / "classes.json").read_text())["classes"]
    return _described(tmp_path, root=str(root), classes=names)


def _linked(folder: Path, images: list[Path], masks: list[Path]) -> None:
    """Pairs under common names."""
    for name, paths in (("images", images), ("masks", masks)):
        (folder / name).mkdir(parents=True)
        for index, path in enumerate(paths):
            (folder / name / f"{index:03}{path.suffix}").symlink_to(path)


def _numbered(last: int, first: int = 0) -> list[dict[str, object]]:
    return [{"name": f"class {value}", "raw": value} for value in range(first, last + 1)]


def test_quick_check_of_camvid() -> None:
    report = check_data(f"camvid:{shared('data', 'camvid')}", quick=True)
    assert report.findings == ()
    assert report.quick
    assert report.pictures == {"train": 367, "val": 101}


def test_quick_check_of_clothing(tmp_path: Path) -> None:
    report = check_data(_clothing(tmp_path), quick=True)
    assert _alarms(report) == []
    assert sum(report.pictures.values()) == 800


@pytest.mark.slow
def test_camvid_is_clean() -> None:
    report = check_data(f"camvid:{shared('data', 'camvid')}")
    print([(item.kind, item.severity, item.message) for item in report.findings])
    assert (*report.errors, *report.warnings) == ()
    assert report.checked == 468


@pytest.mark.slow
def test_clothing_is_clean(tmp_path: Path) -> None:
    report = check_data(_clothing(tmp_path))
    print([(item.kind, item.severity, item.message) for item in report.findings])
    assert _alarms(report) == []
    assert report.checked == 800


def _sample(name: str) -> tuple[list[Path], list[Path], list[dict[str, object]], list[object]]:
    """Pictures, masks, classes and ignored values of one benchmark's samples."""
    root = shared("data", "samples")
    if name == "voc2012":
        masks = sorted((root / "voc2012/VOCdevkit/VOC2012/SegmentationClass").iterdir())
        images = [path.parents[1] / "JPEGImages" / f"{path.stem}.jpg" for path in masks]
        return images, masks, _numbered(20), [255]
    if name == "cityscapes":
        masks = sorted((root / "cityscapes").rglob("*_labelIds.png"))
        stems = [path.name.replace("_gtFine_labelIds.png", "_leftImg8bit.png") for path in masks]
        images = [next((root / "cityscapes/leftImg8bit").rglob(stem)) for stem in stems]
        return images, masks, _numbered(33, 7), list(range(7))
    if name == "ade20k":
        masks = sorted((root / "ade20k").rglob("annotations/*/*.png"))
        images = [next((root / "ade20k").rglob(f"images/*/{path.stem}.jpg")) for path in masks]
        return images, masks, _numbered(150, 1), [0]
    if name == "nyudv2":
        masks = sorted((root / "nyudv2/labels40").iterdir())
        return [root / "nyudv2/images" / path.name for path in masks], masks, _numbered(40, 1), [0]
    masks = sorted((root / name / "masks").iterdir())
    images = [next((root / name / "images").glob(f"{path.stem}.*")) for path in masks]
    if name == "person_part":
        return images, masks, _numbered(6), [255]
    colors = {
        tuple(color) for path in masks for color in np.unique(np.asarray(Image.open(path)).reshape(-1, 3), axis=0)
    }
    listed: list[dict[str, object]] = [
        {"name": f"class {index}", "raw": [[int(part) for part in color]]}
        for index, color in enumerate(sorted(colors))
    ]
    return images, masks, listed, []


@pytest.mark.parametrize("name", ["voc2012", "cityscapes", "ade20k", "nyudv2", "person_part", "pascal_context"])
def test_samples_are_clean(name: str, tmp_path: Path) -> None:
    images, masks, classes, ignore = _sample(name)
    _linked(tmp_path, images, masks)
    report = check_data(_described(tmp_path, classes=classes, ignore=ignore))
    print([(item.kind, item.severity, item.message) for item in report.findings])
    assert _alarms(report) == []
    assert report.checked == len(masks)


def test_instance_files_of_cityscapes_are_recognised(tmp_path: Path) -> None:
    images, masks, classes, ignore = _sample("cityscapes")
    instances = [path.with_name(path.name.replace("labelIds", "instanceIds")) for path in masks]
    _linked(tmp_path, images, instances)
    report = check_data(_described(tmp_path, classes=classes, ignore=ignore))
    assert [item.kind for item in report.errors] == ["instance-ids"]


@pytest.mark.slow
@pytest.mark.parametrize("move", [(12, -9), (0, 25)])
def test_moved_masks_of_real_pictures_are_found(move: tuple[int, int], tmp_path: Path) -> None:
    """Each fifth mask of 60 CamVid pairs moved: more than half are named, and no other."""
    root = shared("data", "camvid")
    masks = sorted((root / "trainannot").iterdir())[::6][:60]
    _linked(tmp_path, [root / "train" / path.name for path in masks], [])
    moved = set()
    for index, path in enumerate(masks):
        labels = np.asarray(Image.open(path))
        if index % 5 == 0:
            labels = np.roll(labels, move, (0, 1))
            moved.add(f"{index:03}")
        Image.fromarray(labels).save(tmp_path / "masks" / f"{index:03}.png")
    report = check_data(_described(tmp_path, classes=_numbered(10), ignore=[11]))
    found = {Path(name).stem for item in report.findings if item.kind == "shifted-mask" for name in item.files}
    print(f"found {len(found)} of {len(moved)}")
    assert found <= moved
    assert len(found) > 0.5 * len(moved)
