from __future__ import annotations

import json
from pathlib import Path

import pytest

from refineseg.data.check import check_data
from refineseg.data.check.dataset_files import find_files
from refineseg.data.check.measurements.measure_all import spread_sample as sample
from refineseg.errors import InputError
from tests.data.check.corpus import Corpus
from tests.data.check.faults import FAULTS

BY_NAME = {fault.name: fault for fault in FAULTS}


def test_what_cannot_be_listed_is_a_report_too(tmp_path: Path) -> None:
    for spec in (f"folder:{tmp_path / 'nowhere'}", "nonsense", f"folder:{tmp_path}"):
        report = check_data(spec)
        assert [item.kind for item in report.errors] == ["cannot-open"]
        assert report.files is None


def test_broken_labels_are_an_error(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    corpus.describe("classes: [a, a]\n")
    assert [item.kind for item in check_data(corpus.spec).errors] == ["cannot-open"]


def test_figures(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    report = check_data(corpus.spec)
    assert report.pictures == {"train": 20, "val": 5}
    assert report.sizes == ((160, 120, 25),)
    assert sum(item.total for item in report.classes) == 25 * 160 * 120
    assert report.classes[0].masks == {"train": 20, "val": 5}
    assert report.void_share == 0.0
    assert report.summary == "no problems found"


def test_void_share_by_hand(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    BY_NAME["half_of_it_ignored"].inject(corpus)
    report = check_data(corpus.spec)
    assert report.void_share == pytest.approx(0.5)
    assert sum(item.total for item in report.classes) == 25 * 80 * 120


def test_json(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    BY_NAME["values_from_one"].inject(corpus)
    told = json.loads(json.dumps(check_data(corpus.spec).to_dict()))
    assert told["ok"] is False
    assert told["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert told["findings"][0]["kind"] == "off-by-one"
    assert len(told["findings"][0]["files"]) == min(told["findings"][0]["count"], 20) > 0
    assert told["pictures"] == {"train": 20, "val": 5}
    assert {entry["name"] for entry in told["classes"]} == {"background", "box", "disc", "wedge"}


def test_errors_stop_a_training_with_one_line(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    check_data(corpus.spec).raise_errors()
    BY_NAME["object_as_255"].inject(corpus)
    with pytest.raises(InputError, match="raw: 255") as caught:
        check_data(corpus.spec, quick=True).raise_errors()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["values_from_one", "masks_in_colour", "mask_deleted", "all_masks_moved"])
def test_quick_finds_what_concerns_the_whole_set(name: str, tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 1)
    BY_NAME[name].inject(corpus)
    assert BY_NAME[name].kind in {item.kind for item in check_data(corpus.spec, quick=True).errors}


def test_sample_is_bounded_and_spread(tmp_path: Path) -> None:
    files = find_files(Corpus(tmp_path / "set", 0).spec)
    chosen = sample(files, 8)
    assert [pair.stem for pair in chosen] == ["view000", "view005", "view010", "view015"] + [
        f"view{index:03}" for index in (20, 21, 22, 23)
    ]
    assert len(sample(files, 1)) == 2  # one of each split


def test_progress_is_told(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    check_data(Corpus(tmp_path / "set", 0).spec, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 25) for done in range(1, 26)]


def test_crop_decides_what_is_far_larger(tmp_path: Path) -> None:
    spec = Corpus(tmp_path / "set", 0).spec
    assert [(item.kind, item.severity) for item in check_data(spec, crop=(16, 24)).findings] == [
        ("far-larger-than-crop", "warning")
    ]
    assert check_data(spec, crop=(60, 80)).findings == ()


def test_a_benchmark_that_lacks_files_is_listed(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    root = tmp_path / "camvid"
    root.mkdir()
    corpus.images.rename(root / "train")
    corpus.masks.rename(root / "trainannot")
    (root / "train" / "view003.png").unlink()
    (root / "trainannot" / "view005.png").unlink()
    (root / "train.txt").write_text("".join(f"/x/train/view{i:03}.png /x/y\n" for i in range(25)))
    kinds = {item.kind: item for item in check_data(f"camvid:{root}").findings}
    assert kinds["listed-but-missing"].files == ("view003.png",)
    assert kinds["image-without-mask"].files == (str(root / "train" / "view005.png"),)
    assert kinds["mask-without-image"].files == (str(root / "trainannot" / "view003.png"),)


def test_nested_splits_are_paired(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "set", 0)
    for kind, path in (("images", corpus.image), ("masks", corpus.mask)):
        for index, stem in enumerate(corpus.stems):
            split = "train" if index < 20 else "val"
            (corpus.root / kind / split).mkdir(exist_ok=True)
            path(stem).rename(corpus.root / kind / split / f"{stem}.png")
    assert check_data(corpus.spec).findings == ()
    (corpus.root / "masks" / "val" / "view021.png").unlink()
    report = check_data(corpus.spec)
    assert report.pictures == {"train": 20, "val": 5}
    assert [item.kind for item in report.errors] == ["image-without-mask"]
