from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refineseg.data import read_mask
from refineseg.data.formats import read_labels
from refineseg.errors import InputError
from tests.data.formats.helpers import brought_in, fails, mask_file, picture, rows
from tests.shared import shared

MASK = rows("0011....", *["........"] * 4, "xx.....2")
COLORS = np.zeros((256, 3), np.uint8)
COLORS[[0, 1, 2, 255]] = (128, 64, 128), (64, 0, 128), (0, 128, 192), (0, 0, 0)
CSV = "name,r,g,b\nRoad,128,64,128\nCar,64,0,128\nVoid,0,0,0\nBike,0,128,192\n"
YAML = """classes:
- {name: Road, color: [128, 64, 128]}
- {name: Car, color: [64, 0, 128]}
- {name: Bike, color: [0, 128, 192]}
ignore: [[0, 0, 0]]
"""
MAP = "# label:color_rgb:parts:actions\nRoad:128,64,128::\nCar:64,0,128::\nvoid:0,0,0::\nBike:0,128,192::\n"


def made(folder: Path) -> Path:
    picture(folder / "images/a.png")
    mask_file(folder / "masks/a_L.png", COLORS[MASK])
    return folder


@pytest.mark.parametrize(("name", "text"), [("class_dict.csv", CSV), ("labels.yaml", YAML), ("labelmap.txt", MAP)])
def test_colours_from_any_labels_file(tmp_path: Path, name: str, text: str) -> None:
    src = made(tmp_path / "src")
    (src / name).write_text(text)
    report, found = brought_in(src, tmp_path / "out")
    assert report.format == "rgb"
    assert report.class_names == ("Road", "Car", "Bike")
    np.testing.assert_array_equal(found["a"], MASK)


def test_labels_given_with_the_command_come_first(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "class_dict.csv").write_text("nonsense")
    (tmp_path / "mine.csv").write_text(CSV)
    report, _ = brought_in(src, tmp_path / "out", labels=read_labels(tmp_path / "mine.csv"))
    assert report.class_names == ("Road", "Car", "Bike")


def test_bad_colours_are_named(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    fails(src, tmp_path / "out", "rgb", "(0, 0, 0), (0, 128, 192)", "labels.yaml", "CSV")
    (src / "class_dict.csv").write_text("Road,128,64,128\nCar,64,0,128\nVoid,0,0,0\n")
    fails(src, tmp_path / "out", "rgb", "a_L.png", "(0, 128, 192) (1 pixel)")
    for line in ("Road,1,2", "Road,a1,2,3", "Road,300,0,0"):
        (src / "class_dict.csv").write_text(line + "\n")
        fails(src, tmp_path / "out", "rgb", "class_dict.csv")


@pytest.mark.parametrize("name", ["a.yaml", "a.csv", "a.txt"])
def test_labels_files_that_are_missing_or_empty_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        read_labels(tmp_path / name)
    (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=name):
        read_labels(tmp_path / name)


def test_a_text_file_with_names(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("__ignore__\n_background_\nroad\n")
    assert read_labels(tmp_path / "classes.txt").names == ["_background_", "road"]


@pytest.mark.parametrize(
    ("name", "text", "raw", "ignore"),
    [
        ("classes.txt", "void\nroad\ncar\n", {"road": 1, "car": 2}, {0, 255, -1}),
        ("classes.txt", "road\nVoid\ncar\n", {"road": 0, "car": 2}, {1, 255, -1}),
        ("labels.csv", "name\nignore\nroad\n", {"road": 1}, {0, 255, -1}),
        ("classes.txt", "__ignore__\n_background_\nroad\n", {"_background_": 0, "road": 1}, {255, -1}),
    ],
)
def test_ignored_names_keep_their_number(
    tmp_path: Path, name: str, text: str, raw: dict[str, int], ignore: set[int]
) -> None:
    (tmp_path / name).write_text(text)
    labels = read_labels(tmp_path / name)
    assert {item.name: item.raw for item in labels.classes} == {key: (value,) for key, value in raw.items()}
    assert set(labels.ignore) == ignore


def test_the_real_masks_of_pascal_context(tmp_path: Path) -> None:
    src = shared("data", "samples", "pascal_context")
    colors = sorted(
        {
            tuple(row)
            for path in (src / "masks").iterdir()
            for row in np.unique(read_mask(path).reshape(-1, 3), axis=0).tolist()
        }
    )
    (tmp_path / "colors.csv").write_text("".join(f"c{i},{r},{g},{b}\n" for i, (r, g, b) in enumerate(colors)))
    report, found = brought_in(src, tmp_path / "out", labels=read_labels(tmp_path / "colors.csv"))
    assert report.format == "rgb"
    assert report.pictures == 2
    for stem, mask in found.items():
        np.testing.assert_array_equal(np.array(colors)[mask], read_mask(src / f"masks/{stem}.png"))
