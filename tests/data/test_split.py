"""Groups by names, stratified splits by group, and the lists that are written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from refineseg.cli.data import data
from refineseg.data import open_data
from refineseg.data.splits.assign import assign_splits, split_data
from refineseg.data.splits.groups import groups_by_pattern, guess_groups, original_name
from refineseg.errors import InputError
from tests.data.check.corpus import Corpus


@pytest.mark.parametrize(
    ("stem", "original"),
    [
        ("yard_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9", "yard"),
        ("IMG-20_png.rf.abcdef12", "IMG-20"),
        ("yard_scaled_0", "yard"),
        ("yard_scaled_0_flip", "yard"),
        ("scene_tile_3_12", "scene"),
        ("scene_x0_y512", "scene"),
        ("photo (2)", "photo"),
        ("photo-copy", "photo"),
        ("frankfurt_000000_000294", "frankfurt_000000_000294"),
        ("2008_002307", "2008_002307"),
        ("crop", "crop"),
        ("0001TP_006690", "0001TP_006690"),
    ],
)
def test_original_names(stem: str, original: str) -> None:
    assert original_name(stem) == original


def test_short_films_are_groups_and_long_ones_are_cut_into_runs() -> None:
    stems = [f"a_{number:03}" for number in range(3)] + [f"long_{number:03}" for number in range(97)]
    groups = guess_groups(stems)
    assert groups[:3] == ["a_#0"] * 3
    assert groups[3:8] == ["long_#0"] * 5  # 100 pictures: runs of 100 // 20
    assert groups[8] == "long_#1"
    assert max(Counter(groups).values()) == 5


def test_copies_of_a_numbered_photograph_stay_with_it() -> None:
    stems = [f"yard{index}_jpg.rf.{'abcdef' * 2}{copy}" for index in range(30) for copy in range(3)]
    groups = guess_groups(stems)
    assert len(set(groups)) == 30
    assert all(count == 3 for count in Counter(groups).values())


def test_groups_by_a_pattern() -> None:
    assert groups_by_pattern(["a1_x", "a2_y"], r"^(\w)\d") == ["a", "a"]
    assert groups_by_pattern(["a1_x", "a2_y"], r"\d") == ["1", "2"]
    with pytest.raises(InputError, match="1 of 2 without a match, such as b"):
        groups_by_pattern(["a1", "b"], r"\d")
    with pytest.raises(InputError, match="invalid regular expression"):
        groups_by_pattern(["a"], "(")


def test_a_rare_class_is_shared_out() -> None:
    """40 pictures, 4 of which show class 1: val of a quarter gets one of them, or two."""
    present = [[0, 1] if index % 10 == 0 else [0] for index in range(40)]
    for seed in range(5):
        chosen = assign_splits([str(index) for index in range(40)], present, {"val": 0.25}, seed)
        assert chosen.count("val") == 10
        assert sum(split == "val" for split, shown in zip(chosen, present, strict=True) if 1 in shown) == 1


@given(st.lists(st.integers(0, 9), min_size=12, max_size=60), st.integers(0, 5))
def test_groups_are_never_cut(numbers: list[int], seed: int) -> None:
    groups = [str(number) for number in numbers]
    if len(set(groups)) < 3:
        return
    chosen = assign_splits(groups, [[number % 4] for number in numbers], {"val": 0.2, "test": 0.2}, seed)
    assert all(len({s for s, g in zip(chosen, groups, strict=True) if g == name}) == 1 for name in groups)
    assert set(chosen) == {"train", "val", "test"}
    assert chosen == assign_splits(groups, [[number % 4] for number in numbers], {"val": 0.2, "test": 0.2}, seed)


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2 groups"):
        assign_splits(["a", "a"], [[0], [0]], {"val": 0.5})
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(InputError, match="expected shares"):
            assign_splits(["a", "b"], [[0], [0]], {"val": share})


def test_lists_are_written_and_open(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    with pytest.raises(InputError, match=r"train\.txt, val\.txt already: add --overwrite"):
        split_data(corpus.spec, {"val": 0.2})
    report = split_data(corpus.spec, {"val": 0.2, "test": 0.2}, overwrite=True)
    assert sum(report.pictures.values()) == 25
    assert report.pictures["val"] == report.pictures["test"] == 5
    assert {path.name for path in report.lists} == {"train.txt", "val.txt", "test.txt"}
    opened = open_data(corpus.spec)
    assert {name: len(samples) for name, samples in opened.splits.items()} == report.pictures
    assert report.classes["background"]["train"] == report.pictures["train"]


def test_the_verb(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    for name in ("train.txt", "val.txt"):
        (corpus.root / name).unlink()
    done = CliRunner().invoke(data, ["split", str(corpus.root), "--val", "0.2", "--group", "(.*)"])
    assert done.exit_code == 0, done.output
    assert "20 train, 5 val; 25 groups, by --group" in done.output
    assert (corpus.root / "val.txt").is_file()
