from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from refineseg.data.formats import detect, formats
from refineseg.data.formats.known_formats import built_in, find_format
from refineseg.errors import InputError
from tests.data.formats import (
    test_coco,
    test_cvat,
    test_huggingface,
    test_labelme,
    test_labelstudio,
    test_pairs_list,
    test_palette,
    test_rgb,
    test_tiff,
)
from tests.data.formats.helpers import picture

STRANGERS = Path(__file__).parent / "strangers"


def stranger(name: str) -> Callable[[Path], Path]:
    """Copies one of the strangers' folders."""
    return lambda folder: Path(shutil.copytree(STRANGERS / name, folder))


MADE: dict[str, Callable[[Path], Path]] = {
    "class-masks": stranger("mk_per_class"),
    "coco-panoptic": stranger("dm_coco_panoptic"),
    "roboflow": stranger("mk_roboflow_sem"),
    "supervisely": stranger("supervisely"),
    "via": stranger("via"),
    "yolo": stranger("yolo_seg"),
    "list": lambda folder: test_pairs_list.made(folder, "photos/c.jpg,truth/2.png\n"),
    "coco": lambda folder: test_coco.made(folder, test_coco.GOOD),
    "labelme": lambda folder: test_labelme.made(folder, test_labelme.GOOD),
    "cvat": lambda folder: test_cvat.made(folder),
    "labelstudio": lambda folder: test_labelstudio.made(folder, test_labelstudio.GOOD),
    "palette": lambda folder: test_palette.made(folder),
    "rgb": lambda folder: test_rgb.made(folder),
    "tiff": lambda folder: test_tiff.made(folder),
    "huggingface": lambda folder: test_huggingface.table(folder / "a.parquet", [b""], [b""]),
}


def test_there_is_a_fixture_for_every_format() -> None:
    assert sorted(MADE) == sorted(formats())
    assert all(name == item.name for name, item in formats().items())


@pytest.mark.parametrize("name", list(built_in()))
def test_every_format_is_recognised_as_itself_only(tmp_path: Path, name: str) -> None:
    src = MADE[name](tmp_path / "src")
    assert [item.name for item in formats().values() if item.fits(src)] == [name]
    assert detect(src).name == name
    if src.is_file() and name != "list":  # their folder is as good
        assert detect(src.parent).name == name


def test_nothing_and_several_and_unknown_are_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"cannot tell the format.*an empty folder.*--format .*coco"):
        detect(tmp_path / "empty")
    with pytest.raises(InputError, match="not found"):
        detect(tmp_path / "gone")
    with pytest.raises(InputError, match="expected a format of class-masks, coco"):
        find_format("cocoo", tmp_path)
    with pytest.raises(InputError, match="not found"):
        find_format("coco", tmp_path / "gone")
    test_palette.made(tmp_path / "both")
    test_cvat.made(tmp_path / "both")
    with pytest.raises(InputError, match=r"cvat and palette.*--format"):
        detect(tmp_path / "both")
    assert find_format("cvat", tmp_path / "both").name == "cvat"


def test_pictures_alone_and_plain_tiffs_are_not_mistaken(tmp_path: Path) -> None:
    picture(tmp_path / "images/b.png")
    with pytest.raises(InputError, match="cannot tell"):
        detect(tmp_path)
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "images/a.tif", np.zeros((6, 8, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "masks/a.tif", np.zeros((6, 8), np.uint8))
    assert detect(tmp_path).name == "palette"


def test_arrays_are_named_where_nothing_is_recognised(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "1.npy", np.zeros((6, 8), np.uint8))
    with pytest.raises(InputError, match=r"2 \.npy; .*\.npy files are read as masks, .*; save pictures .* as PNG"):
        detect(tmp_path)
