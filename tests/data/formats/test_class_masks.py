"""Masks of one class each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refineseg.data.formats import ImportOptions
from refineseg.labels import UInt8
from tests.data.formats.helpers import brought_in, mask_file, picture


def rows_of(first: int, last: int) -> UInt8:
    """White in some rows of a black mask."""
    mask = np.zeros((6, 8), np.uint8)
    mask[first:last] = 255
    return mask


def test_two_folders_of_masks_for_the_same_pictures_both_count(tmp_path: Path) -> None:
    src = tmp_path / "src"
    for name in ("a", "b"):
        picture(src / f"train/{name}.png")
    mask_file(src / "train_masks/a_car.png", rows_of(0, 3))
    mask_file(src / "train_labels/a_road.png", rows_of(2, 4))
    report, masks = brought_in(src, tmp_path / "out", how=ImportOptions(unannotated="background"))
    assert report.class_names == ("background", "car", "road")
    assert set(masks) == {"a", "b"}
    assert masks["a"][:, 0].tolist() == [1, 1, 2, 2, 0, 0]
    assert not masks["b"].any()
    assert any("a.png" in warning for warning in report.warnings)


def test_later_classes_of_the_labels_file_lie_on_top(tmp_path: Path) -> None:
    src = tmp_path / "src"
    picture(src / "images/a.png")
    mask_file(src / "masks/a_car.png", rows_of(0, 3))
    mask_file(src / "masks/a_road.png", rows_of(2, 4))
    _, by_name = brought_in(src, tmp_path / "alphabet")
    assert by_name["a"][:, 0].tolist() == [1, 1, 2, 2, 0, 0]
    (src / "labels.yaml").write_text("classes: [background, road, car]\n")
    _, by_file = brought_in(src, tmp_path / "file")
    assert by_file["a"][:, 0].tolist() == [2, 2, 2, 1, 0, 0]
