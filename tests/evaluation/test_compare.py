"""compare: protocol first, then classes, then pictures, and no winner within chance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refineseg.errors import InputError
from refineseg.evaluation.bootstrap import intervals, intervals_to_dict
from refineseg.evaluation.compare import Scored, compare, read_scored
from refineseg.evaluation.metrics import Counts, Sums, scores
from refineseg.evaluation.per_picture import PictureScores, picture_entry
from refineseg.evaluation.protocol import find_protocol

NAMES = ["road", "car", "pole", "sky"]


def matrices(seed: int, count: int = 40, skill: float = 0.7) -> list[Counts]:
    """Confusion matrices of pictures; the truth depends on the picture alone, not on the skill."""
    result = []
    for index in range(count):
        draw = np.random.default_rng([seed, index])
        true = draw.integers(100, 900, len(NAMES))
        noise = draw.normal(0, 0.05)
        matrix = np.zeros((len(NAMES), len(NAMES)), np.int64)
        for item, pixels in enumerate(true):
            hit = int(pixels * np.clip(skill + noise, 0, 1))
            matrix[item, item] = hit
            matrix[item, (item + 1) % len(NAMES)] = pixels - hit
        result.append(matrix)
    return result


def write(path: Path, parts: list[Counts], protocol: str = "single", **other: Any) -> Scored:
    chosen = find_protocol(protocol)
    entries = [picture_entry(f"p{index}", Sums.of(part)) for index, part in enumerate(parts)]
    pictures = PictureScores.from_list(entries, len(NAMES))
    total = np.sum(parts, axis=0)
    values = {
        **scores(total, chosen.mean_over).to_dict(NAMES),
        "intervals": intervals_to_dict(intervals(pictures.sums)),
        "protocol": chosen.to_dict(),
        "data": "camvid",
        "split": "val",
        "class_names": NAMES,
        "images": pictures.to_list(),
    } | other
    path.write_text(json.dumps(values))
    return read_scored(path)


def test_a_real_gain_is_named(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", matrices(0))
    second = write(tmp_path / "b.json", matrices(0, skill=0.8))
    found = compare(first, second)
    assert found.winner == "B"
    assert compare(second, first).winner == "A"
    assert found.rest == pytest.approx(second.mean_iou - first.mean_iou)
    assert sum(row[3] for row in found.classes) == pytest.approx(found.rest)
    assert found.lines()[-1].startswith("B is better")


def test_no_winner_within_chance(tmp_path: Path) -> None:
    first, changed = matrices(0), matrices(0)
    for index, matrix in enumerate(changed):  # a little better here, a little worse there, better on the whole
        matrix[0, 0] += 20 if index % 2 else -18
        matrix[0, 1] -= 20 if index % 2 else -18
    found = compare(write(tmp_path / "a.json", first), write(tmp_path / "b.json", changed))
    assert found.rest > 0
    assert found.winner is None
    assert found.lines()[-1].startswith("no winner")
    same = compare(write(tmp_path / "c.json", first), write(tmp_path / "d.json", first))
    assert same.winner is None
    assert same.interval == (0, 0)


def test_protocol_comes_first_with_what_it_makes(tmp_path: Path) -> None:
    parts = matrices(0)
    for part in parts:
        part[3] = 0  # sky is predicted, never true
    first = write(tmp_path / "a.json", parts)
    second = write(tmp_path / "b.json", parts, "ade20k")
    found = compare(first, second)
    assert list(found.protocol) == ["mean_over"]
    assert found.rule == pytest.approx(second.mean_iou - first.mean_iou)
    assert found.rule < -0.1
    assert found.rest == 0
    lines = found.lines()
    assert lines[3].startswith("1. protocol: mean_over is truth in A, zero in B")
    assert f"{found.rule:+.4f}" in lines[3]
    assert found.winner is None


def test_classes_and_pictures_that_make_the_difference(tmp_path: Path) -> None:
    parts, changed = matrices(0), matrices(0)
    changed[7][2, 2] += changed[7][2, 3]  # the poles of one picture are all found
    changed[7][2, 3] = 0
    found = compare(write(tmp_path / "a.json", parts), write(tmp_path / "b.json", changed))
    assert {row[0] for row in found.classes} == {"pole", "sky"}  # sky gains as pole was taken for it
    assert [name for name, _ in found.pictures] == ["p7"]
    assert found.pictures[0][1] == pytest.approx(found.rest)
    total = found.rule + found.others + found.rest
    assert total == pytest.approx(found.second.mean_iou - found.first.mean_iou)


def test_only_shared_pictures_are_judged(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.json", matrices(0)), write(tmp_path / "b.json", matrices(0, 25, 0.8))
    found = compare(first, second)
    assert found.shared == 25
    assert found.rule + found.others + found.rest == pytest.approx(second.mean_iou - first.mean_iou)
    assert "25 in both, 15 only in A, 0 only in B" in "\n".join(found.lines())


def test_misfits_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a.json", matrices(0))
    with pytest.raises(InputError, match="same split"):
        compare(first, write(tmp_path / "b.json", matrices(0), split="test"))
    with pytest.raises(InputError, match="same ground truth"):
        compare(first, write(tmp_path / "c.json", matrices(1)))
    with pytest.raises(InputError, match="File not found"):
        read_scored(tmp_path / "nowhere.json")
    for text in ("{", "[]", '{"mean_iou": 1}', '{"class_names": ["a"], "mean_iou": 0, "protocol": {"x": 1}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError, match=r"bad\.json"):
            read_scored(tmp_path / "bad.json")


def test_a_file_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json: expected at least one picture"):
        write(tmp_path / "a.json", matrices(0), images=[])


def test_the_verb_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from refineseg.cli.compare import compare as verb

    write(tmp_path / "a.json", matrices(0))
    write(tmp_path / "b.json", matrices(0, skill=0.8))
    verb(tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json")
    assert "B is better" in capsys.readouterr().out
    assert json.loads((tmp_path / "c.json").read_text())["winner"] == "B"
