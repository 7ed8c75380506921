"""configs/people.yaml: 59 garments and body parts merged to 10, and its fixed split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from refineseg.config.yaml import read_yaml
from refineseg.data import open_data
from refineseg.data.dataset import read_list
from refineseg.data.images import read_mask
from refineseg.labels import LabelMap
from tests.shared import shared

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PARTS = [
    "background",
    "hair",
    "skin",
    "upper body",
    "lower body",
    "dress",
    "footwear",
    "bag",
    "hat",
    "accessories",
]
GARMENTS = {
    "background": {"null"},
    "hair": {"hair"},
    "skin": {"skin"},
    "dress": {"bodysuit", "dress", "romper", "swimwear"},
    "bag": {"bag", "purse", "wallet"},
    "hat": {"hat"},
    "lower body": {"jeans", "leggings", "panties", "pants", "shorts", "skirt", "stockings", "tights"},
}


def people_map() -> LabelMap:
    values = read_yaml(CONFIGS / "people.yaml")
    return LabelMap.from_dict({"classes": values["classes"], "ignore": values["ignore"]})


def test_all_59_values_are_merged_to_10_parts() -> None:
    people = people_map()
    assert people.names == PARTS
    assert sorted(value for item in people.classes for value in item.raw if isinstance(value, int)) == [*range(59)]
    assert people.ignore == ()


def test_the_split_is_700_and_100_of_800() -> None:
    train, val = (read_list(CONFIGS / "people" / f"{split}.txt") for split in ("train", "val"))
    assert (len(train), len(val)) == (700, 100)
    assert sorted(train + val) == [f"{number:04d}" for number in range(1, 801)]


def test_numbers_are_those_of_the_data_and_names_fall_where_they_belong() -> None:
    names = json.loads(shared("data", "clothing_parsing", "classes.json").read_text())["classes"]
    merged = {
        item.name: {names[value] for value in item.raw if isinstance(value, int)} for item in people_map().classes
    }
    for part, garments in GARMENTS.items():
        assert merged[part] == garments
    assert {"shoes", "boots", "sandals", "socks"} <= merged["footwear"]
    assert {"coat", "shirt", "t-shirt", "suit", "vest"} <= merged["upper body"]
    assert {"belt", "scarf", "sunglasses", "watch", "tie"} <= merged["accessories"]


def test_real_photographs_open_by_the_yaml_and_at_another_root() -> None:
    root = shared("data", "clothing_parsing")
    data = open_data(f"{CONFIGS / 'people.yaml'}:{root}")
    assert {split: len(samples) for split, samples in data.splits.items()} == {"train": 700, "val": 100}
    for sample in data.split("val")[::20]:
        _, labels = data.read(sample)
        assert sample.mask is not None
        assert set(np.unique(labels)) <= {*range(10)}
        assert np.array_equal(labels == PARTS.index("skin"), read_mask(sample.mask) == 41)
