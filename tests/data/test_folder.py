"""Data sets on disk: CamVid's layout, folders of one's own, YAML descriptions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.data.batches.loader import SampleKey, TrainingPictures
from refineseg.data.check import check_data
from refineseg.errors import InputError, LabelError, RefinesegError
from refineseg.evaluation.evaluate import evaluate
from refineseg.labels import IGNORE
from refineseg.loading import load
from refineseg.training.loop import train
from tests.data.made import make_camvid, make_folder
from tests.shared import shared


def test_camvid_layout(tmp_path: Path) -> None:
    data = open_data(f"camvid:{make_camvid(tmp_path, train=3, val=2)}")
    assert {name: len(items) for name, items in data.splits.items()} == {"train": 3, "val": 2}
    assert data.label_map.names[0] == "Sky"
    assert data.label_map.num_classes == 11
    image, labels = data.read(data.split("train")[0])
    assert image.shape == (36, 48, 3)
    assert labels.shape == (36, 48)
    assert set(np.unique(labels)) <= {*range(11), IGNORE}
    assert (labels == IGNORE).any()


def test_real_camvid() -> None:
    data = open_data(f"camvid:{shared('data', 'camvid')}")
    assert {name: len(items) for name, items in data.splits.items()} == {"train": 367, "val": 101}
    image, labels = data.read(data.split("val")[0])
    assert image.shape == (360, 480, 3)
    assert labels.max() <= 10 or (labels[labels > 10] == IGNORE).all()


def test_folder_with_split_lists(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=6)
    (root / "train.txt").write_text("p0\np1.png\n\np2\n")
    (root / "val.txt").write_text("p5\n")
    data = open_data(f"folder:{root}")
    assert [sample.stem for sample in data.split("train")] == ["p0", "p1", "p2"]
    assert [sample.stem for sample in data.split("val")] == ["p5"]
    with pytest.raises(InputError, match="no pictures in split 'test'"):
        data.split("test")


def test_folder_without_lists_holds_some_out(tmp_path: Path) -> None:
    data = open_data(f"folder:{make_folder(tmp_path, pictures=30)}")
    train, val = data.split("train"), data.split("val")
    assert len(train) + len(val) == 30
    assert not {sample.stem for sample in train} & {sample.stem for sample in val}
    again = open_data(f"folder:{tmp_path / 'set'}")
    assert again.split("val") == val


def test_folder_with_nested_splits(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=4)
    for kind in ("images", "masks"):
        for split, stems in (("train", ("p0", "p1", "p2")), ("val", ("p3",))):
            (root / kind / split).mkdir()
            for stem in stems:
                (root / kind / f"{stem}.png").rename(root / kind / split / f"{stem}.png")
    data = open_data(f"folder:{root}")
    assert [len(data.split(name)) for name in ("train", "val")] == [3, 1]
    assert data.name == "set", "called by its folder: two data sets must not be taken for one"


def test_yaml_may_lie_elsewhere(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=3)
    description = tmp_path / "mine.yaml"
    description.write_text("root: set\nname: mine\nclasses: [a, {name: b, raw: [1, 2]}]\nignore: 255\n")
    data = open_data(description)
    assert data.name == "mine"
    assert data.label_map.names == ["a", "b"]
    _, labels = data.read(data.split("train")[0])
    assert set(np.unique(labels)) <= {0, 1, IGNORE}
    assert root.is_dir()


def test_cache_respects_its_limit(tmp_path: Path) -> None:
    data = open_data(f"folder:{make_folder(tmp_path, pictures=30, size=(64, 64))}")
    small = TrainingPictures(data, "train", AugmentConfig(crop=(32, 32)), seed=0)
    small.prepare(cache_mb=0)
    assert not small.kept
    large = TrainingPictures(data, "train", AugmentConfig(crop=(32, 32)), seed=0)
    large.prepare(cache_mb=64)
    assert len(large.kept) == len(large)
    for index in range(5):
        for one, other in zip(small[SampleKey(index, 0, index)], large[SampleKey(index, 0, index)], strict=True):
            assert (one == other).all()
    assert large.class_pixels.sum() > 0


def test_cache_keeps_as_many_as_fit(tmp_path: Path) -> None:
    """A pair of 256x256 takes a quarter of a megabyte: four bytes a pixel."""
    data = open_data(f"folder:{make_folder(tmp_path, pictures=9, size=(256, 256))}")
    pictures = TrainingPictures(data, "train", AugmentConfig(crop=(32, 32)), seed=0)
    pictures.prepare(cache_mb=1)
    assert len(pictures) > 4
    assert sum(image.nbytes + labels.nbytes for image, labels in pictures.kept.values()) == 1 << 20
    assert (pictures.class_pixels.sum(1) > 0).all()  # those that are not kept were read and counted too


def state(root: Path) -> dict[str, tuple[int, int]]:
    """What is in a folder, with size and time of the last change."""
    return {
        str(path.relative_to(root)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in (root, *root.rglob("*"))
    }


def test_works_from_a_read_only_folder(tmp_path: Path) -> None:
    """Check, training and scoring leave no trace in the data's folder, not even a cache."""
    root, run = make_folder(tmp_path, pictures=6), tmp_path / "run"
    for path in [*root.rglob("*"), root]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state(root)
    try:
        data = open_data(f"folder:{root}")
        assert data.read(data.split("train")[0])[0].shape == (36, 48, 3)
        assert not check_data(f"folder:{root}").errors
        fields = {"width": 16, "coarse_width": 16}
        config = TrainConfig(fields=fields, augment=AugmentConfig(crop=(32, 32)), steps=1, batch_size=2, workers=1)
        train(config, data, run, device="cpu")
        evaluate(load(run / "best", "cpu"), data, "val")
        assert state(root) == before
    finally:
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755)


def read_everything(root: Path) -> None:
    data = open_data(f"folder:{root}")
    for samples in data.splits.values():
        for sample in samples:
            data.read(sample)


def damage_size(root: Path) -> None:
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(root / "masks" / "p0.png")


def damage_value(root: Path) -> None:
    Image.fromarray(np.full((36, 48), 77, np.uint8)).save(root / "masks" / "p0.png")


def damage_rgb(root: Path) -> None:
    Image.new("RGB", (48, 36)).save(root / "masks" / "p0.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_size, "one size, got 5x5 for .*p0.png and 48x36"),
        (damage_value, r"p0.png: expected .*found 77 \(1,728 pixels\)"),
        (damage_rgb, "p0.png: expected a mask of one channel"),
        (lambda root: (root / "masks" / "p0.png").unlink(), "none for 1, such as p0.png"),
        (lambda root: (root / "images" / "p0.png").write_bytes(b"x"), "cannot read .*p0.png"),
        (lambda root: (root / "labels.yaml").unlink(), "expected the class names there"),
        (lambda root: (root / "labels.yaml").write_text("classes: 3"), "expected labels with a list"),
        (lambda root: (root / "labels.yaml").write_text("classes: [a, a]"), "every class name once"),
        (lambda root: (root / "labels.yaml").write_text("clases: [a]"), "unknown key 'clases'"),
        (lambda root: (root / "labels.yaml").write_text("a: [b"), "cannot read .*labels.yaml"),
        (lambda root: (root / "train.txt").write_text("nothing\n"), "lists nothing"),
    ],
)
def test_faults_are_named_before_training(tmp_path: Path, damage: object, message: str) -> None:
    root = make_folder(tmp_path, pictures=3)
    damage(root)  # type: ignore[operator]
    with pytest.raises(RefinesegError, match=message) as caught:
        read_everything(root)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_folders(tmp_path: Path) -> None:
    for spec, message in (
        ("nonsense:/tmp", "unknown benchmark"),
        ("/just/a/path", "expected NAME:ROOT"),
        (f"camvid:{tmp_path}/none", "Folder not found"),
        (f"camvid:{tmp_path}", "SegNet layout"),
        (f"folder:{tmp_path}", "labels.yaml"),
        (str(tmp_path / "no.yaml"), "File not found"),
    ):
        with pytest.raises(InputError, match=message):
            open_data(spec)


def test_empty_folder(tmp_path: Path) -> None:
    root = make_folder(tmp_path, pictures=0)
    with pytest.raises(InputError, match="no pictures in"):
        open_data(f"folder:{root}")


def test_label_error_is_an_input_error() -> None:
    assert issubclass(LabelError, InputError)
