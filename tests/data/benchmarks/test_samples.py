"""Every opener on real pairs in the official layouts, where ../shared is there."""

from __future__ import annotations

import numpy as np
import pytest

from refineseg.data import open_data
from refineseg.data.dataset import SegmentationData
from refineseg.errors import InputError
from refineseg.labels import IGNORE
from tests.shared import shared


def sample_data(name: str, folder: str) -> SegmentationData:
    return open_data(f"{name}:{shared('data', 'samples', folder)}")


# Classes that are seen in the pictures, and the largest share of void that each set's rule explains.
@pytest.mark.parametrize(
    ("name", "folder", "split", "pairs", "seen", "void"),
    [
        ("voc2012", "voc2012", "val", 20, {"background", "person", "cat", "bus", "bicycle"}, 0.15),
        ("cityscapes", "cityscapes", "train", 3, {"road", "building", "sky", "car", "bicycle"}, 0.15),
        ("ade20k", "ade20k", "val", 2, {"sky", "building", "tree"}, 0.15),
        ("nyudv2", "nyudv2", "all", 4, {"wall", "floor", "bed", "sink", "pillow"}, 0.25),
        ("person-part", "person_part", "all", 2, {"head", "torso", "upper arms", "lower arms", "upper legs"}, 0.0),
        (
            "pascal-context",
            "pascal_context",
            "all",
            2,
            {"bird", "water", "person", "motorbike", "sky", "grass"},
            0.0,
        ),
    ],
)
def test_real_pairs(name: str, folder: str, split: str, pairs: int, seen: set[str], void: float) -> None:
    data = sample_data(name, folder)
    samples = data.split(split)
    assert len(samples) == pairs
    names = set()
    for sample in samples:
        image, labels = data.read(sample)
        assert labels.shape == image.shape[:2]
        assert set(np.unique(labels)) <= {*range(data.label_map.num_classes), IGNORE}
        assert (labels == IGNORE).mean() <= void
        names |= {data.label_map.names[index] for index in np.unique(labels) if index != IGNORE}
        # What is written back means the same.
        assert np.array_equal(data.label_map.encode(data.label_map.decode(labels)), labels)
    assert seen <= names


def test_sky_is_above_road() -> None:
    """Ids are not merely in range: the sky of Cityscapes is over its road, in every picture that shows both."""
    data = sample_data("cityscapes", "cityscapes")
    road, sky = (data.label_map.names.index(name) for name in ("road", "sky"))
    for sample in data.split("train"):
        _, labels = data.read(sample)
        rows = np.arange(labels.shape[0])[:, None] * np.ones(labels.shape[1])
        assert rows[labels == sky].mean() < rows[labels == road].mean()


def test_parts_lie_on_the_person_of_voc() -> None:
    """Two of the pictures are in VOC too: nearly all parts are on VOC's person pixels."""
    parts, voc = sample_data("person-part", "person_part"), sample_data("voc2012", "voc2012")
    whole = {sample.stem: sample for sample in voc.split("val")}
    for sample in parts.split("all"):
        _, labels = parts.read(sample)
        _, objects = voc.read(whole[sample.stem])
        assert (objects[labels > 0] == voc.label_map.names.index("person")).mean() > 0.9


def test_sunrgbd_has_pictures_only_and_says_so() -> None:
    data = sample_data("sunrgbd", "sunrgbd")
    samples = data.split("val")  # their numbers are below 5,051
    assert [sample.stem for sample in samples] == ["12", "1575", "215", "2183"]
    assert data.read_picture(samples[0].image).shape == (530, 730, 3)
    with pytest.raises(InputError, match="expected a mask"):
        data.read(samples[0])


def test_camvid_in_segnets_layout() -> None:
    data = open_data(f"camvid:{shared('data', 'camvid')}")
    assert len(data.split("train")) == 367
    assert len(data.split("val")) == 101
    for sample in data.split("val")[::25]:
        assert data.read(sample)[1].shape == (360, 480)


def test_camvids_split_by_drive_is_segnets() -> None:
    from refineseg.data.benchmarks.camvid import official_split

    data = open_data(f"camvid:{shared('data', 'camvid')}")
    for split in ("train", "val"):
        assert {official_split(sample.stem) for sample in data.split(split)} == {split}
