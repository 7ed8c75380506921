"""What may stand for a data set, and where its lists are looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refineseg.data import open_data
from refineseg.data.benchmarks import camvid
from refineseg.errors import InputError
from tests.data.benchmarks import roots


def pairs(root: Path, stems: list[str]) -> Path:
    for stem in stems:
        roots.picture(root / "images" / f"{stem}.jpg")
        roots.mask(root / "masks" / f"{stem}.png", roots.values(stem, [0, 1, 255]))
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_with_names(tmp_path: Path) -> None:
    write(pairs(tmp_path, ["a", "b", "c"]) / "labels.yaml", "classes: [ground, tree]\n")
    data = open_data(f"folder:{tmp_path}")
    assert sorted(sample.stem for split in data.splits.values() for sample in split) == ["a", "b", "c"]
    _, labels = data.read(data.split("train")[0])
    assert set(np.unique(labels)) == {0, 1, 255}


def test_lists_under_the_root_come_before_those_beside_the_yaml(tmp_path: Path) -> None:
    root = pairs(tmp_path / "data", ["a", "b", "c"])
    text = f"root: {root}\nclasses: [ground, tree]\nsplits: {{train: train.txt, val: lists/val.txt}}\n"
    description = write(tmp_path / "configs" / "mine.yaml", text)
    roots.listing(root / "train.txt", ["a", "b"])
    roots.listing(tmp_path / "configs" / "train.txt", ["c"])
    roots.listing(tmp_path / "configs" / "lists" / "val.txt", ["c.jpg"])
    data = open_data(str(description))
    assert {split: [sample.stem for sample in samples] for split, samples in data.splits.items()} == {
        "train": ["a", "b"],
        "val": ["c"],
    }


def test_a_list_that_is_nowhere_is_named(tmp_path: Path) -> None:
    root = pairs(tmp_path / "data", ["a"])
    path = write(tmp_path / "mine.yaml", f"root: {root}\nclasses: [ground, tree]\nsplits: {{train: no.txt}}\n")
    with pytest.raises(InputError, match=r"no\.txt"):
        open_data(str(path))


def test_a_yaml_for_another_root(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.yml", "classes: [ground, tree]\n")
    root = pairs(tmp_path / "elsewhere", ["a", "b"])
    assert open_data(f"{path}:{root}").root == root
    with pytest.raises(InputError, match="Folder not found"):
        open_data(str(path))


def test_unknown_keys_and_specs_are_told(tmp_path: Path) -> None:
    path = write(pairs(tmp_path, ["a"]) / "labels.yaml", "classes: [a]\nclasess: 3\n")
    with pytest.raises(InputError, match="unknown key 'clasess'"):
        open_data(str(path))
    with pytest.raises(InputError, match=r"expected NAME:ROOT .*camvid.*write folder:"):
        open_data(str(tmp_path))
    with pytest.raises(InputError, match="Folder not found"):
        open_data(f"folder:{tmp_path}/nowhere")


def test_lists_and_nested_folders_are_not_mixed(tmp_path: Path) -> None:
    roots.picture(tmp_path / "images" / "train" / "a.jpg")
    path = write(tmp_path / "mine.yaml", "classes: [ground, tree]\nsplits: {train: train.txt}\n")
    with pytest.raises(InputError, match="got both"):
        open_data(str(path))


def test_a_benchmark_that_is_not_whole_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    roots.camvid_segnet(tmp_path, {"train": 2, "val": 1})
    (note,) = open_data(f"camvid:{tmp_path}").notes
    assert note.startswith("not all of the published pictures (2 of 367 train, 1 of 101 val): scores are not comp")
    whole = replace(camvid.BENCHMARK, pairs={"train": (3, 2), "val": (1,)})
    monkeypatch.setattr(camvid, "BENCHMARK", whole)
    assert open_data(f"camvid:{tmp_path}").notes == ()
