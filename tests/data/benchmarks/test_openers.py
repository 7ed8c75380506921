"""Every benchmark's opener: names, colours, counts, ids out and back, and what it says of what is amiss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refineseg.colors import voc_palette
from refineseg.data import open_data
from refineseg.data.registry import benchmark_names, find_benchmark
from refineseg.errors import InputError
from refineseg.labels import IGNORE
from tests.data.benchmarks import roots

# Names, colours and counts of all --------------------------------------------------------------------------

CLASSES = {
    "camvid": 11,
    "voc2012": 21,
    "cityscapes": 19,
    "nyudv2": 40,
    "sunrgbd": 37,
    "pascal-context": 60,
    "ade20k": 150,
    "person-part": 7,
}
# The paper's table (and REFERENCE's): pairs for training and for scoring.
PUBLISHED = {
    "camvid": (367, 101),
    "voc2012": (10582, 1449),
    "cityscapes": (2975, 500),
    "nyudv2": (795, 654),
    "sunrgbd": (5285, 5050),
    "pascal-context": (4998, 5105),
    "ade20k": (20210, 2000),
    "person-part": (1717, 1818),
}


def test_every_benchmark_is_registered() -> None:
    assert set(benchmark_names()) == set(CLASSES)
    for name in CLASSES:
        benchmark = find_benchmark(name)
        assert benchmark.name == name
        assert all(find_benchmark(alias) is benchmark for alias in benchmark.aliases)


@pytest.mark.parametrize("name", CLASSES)
def test_numbers_of_classes_and_pairs_are_the_published_ones(name: str) -> None:
    label_map = find_benchmark(name).label_map()
    assert label_map.num_classes == CLASSES[name]
    train, val = PUBLISHED[name]
    assert train in find_benchmark(name).pairs["train"]
    assert val in find_benchmark(name).pairs["val"]


@pytest.mark.parametrize("name", CLASSES)
def test_labels_go_out_and_come_back(name: str) -> None:
    label_map = find_benchmark(name).label_map()
    ids = np.array([[*range(label_map.num_classes), IGNORE]], np.uint8)
    assert np.array_equal(label_map.encode(label_map.decode(ids)), ids)


def test_unknown_names_are_answered_with_the_list() -> None:
    with pytest.raises(InputError, match=r"unknown benchmark 'coco': known are ade20k, camvid,.*voc2012"):
        find_benchmark("coco").label_map()


@pytest.mark.parametrize(
    ("name", "train_id", "called", "color", "raw"),
    [
        ("voc2012", 15, "person", (192, 128, 128), 15),
        ("voc2012", 20, "tvmonitor", (0, 64, 128), 20),
        ("cityscapes", 0, "road", (128, 64, 128), 7),
        ("cityscapes", 18, "bicycle", (119, 11, 32), 33),
        ("nyudv2", 0, "wall", (128, 0, 0), 1),
        ("nyudv2", 39, "other prop", voc_palette(41)[40], 40),
        ("sunrgbd", 36, "bag", voc_palette(38)[37], 37),
        ("ade20k", 0, "wall", (120, 120, 120), 1),
        ("ade20k", 12, "person", (150, 5, 61), 13),
        ("ade20k", 149, "flag", (92, 0, 255), 150),
        ("pascal-context", 36, "grass", (0, 0, 192), 36),
        ("person-part", 6, "lower legs", (0, 128, 128), 6),
        ("camvid", 10, "Bicyclist", (0, 128, 192), 10),
    ],
)
def test_names_colors_and_values(name: str, train_id: int, called: str, color: tuple[int, ...], raw: int) -> None:
    item = find_benchmark(name).label_map().classes[train_id]
    assert (item.name, item.color, item.raw) == (called, color, (raw,))


# Amiss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_an_empty_folder_is_told_with_what_was_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="expected"):
        open_data(f"{name}:{tmp_path}")


@pytest.mark.parametrize("make", [roots.sunrgbd, roots.nyudv2])
def test_a_list_of_pictures_that_are_not_there(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    make(tmp_path)
    roots.listing(tmp_path / "train.txt", ["nowhere"])
    name = "sunrgbd" if make is roots.sunrgbd else "nyudv2"
    with pytest.raises(InputError, match="not found, such as nowhere"):
        open_data(f"{name}:{tmp_path}")
