"""Every injected fault is found by the rule that it is meant for, and a clean set gives no finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from refineseg.data.check import CheckReport, check_data
from tests.data.check.corpus import Corpus
from tests.data.check.faults import FAULTS, Fault

FOUND = 0.95

# Findings that truly come with a fault, and are no false alarm.
COMPANIONS = {
    "masks_with_a_suffix": {"mask-without-image"},
    "folders_swapped": {"blank-image"},
    "background_ignored_and_nothing_else_there": {
        "duplicate-mask",
        "single-class-mask",
        "inverted-ignore",
        "dominant-class",
        "absent-class",
    },
    "everything_ignored": {"empty-mask"},
    "only_borders_labelled": {"void-share"},
    "nearly_all_background": {"single-class-mask", "absent-class", "class-not-in-train"},
    "mask_copied": {"shifted-mask", "turned-mask"},
}


def _spoilt(folder: Path, fault: Fault, seed: int) -> CheckReport:
    corpus = Corpus(folder / f"{fault.name}-{seed}", seed)
    fault.inject(corpus)
    return check_data(corpus.spec)


def _hit(report: CheckReport, fault: Fault) -> bool:
    return any((item.kind, item.severity) == (fault.kind, fault.severity) for item in report.findings)


def _alarms(report: CheckReport, fault: Fault) -> list[str]:
    expected = {fault.kind} | COMPANIONS.get(fault.name, set())
    return [item.kind for item in (*report.errors, *report.warnings) if item.kind not in expected]


def test_there_are_enough_kinds() -> None:
    assert len({fault.kind for fault in FAULTS}) >= 40
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_found(fault: Fault, tmp_path: Path) -> None:
    report = _spoilt(tmp_path, fault, seed=0)
    assert _hit(report, fault), [(item.kind, item.severity) for item in report.findings]
    assert not _alarms(report, fault)
    found = next(item for item in report.findings if item.kind == fault.kind)
    assert found.count > 0
    assert found.fix


@pytest.mark.slow
def test_share_found_over_many_seeds(tmp_path: Path) -> None:
    reports = [(fault, _spoilt(tmp_path, fault, seed)) for seed in range(1, 6) for fault in FAULTS]
    missed = [fault.name for fault, report in reports if not _hit(report, fault)]
    false = [(fault.name, _alarms(report, fault)) for fault, report in reports if _alarms(report, fault)]
    print(f"found {len(reports) - len(missed)} of {len(reports)}; missed {missed}; false alarms {false}")
    assert len(missed) <= (1 - FOUND) * len(reports), missed
    assert len(false) <= (1 - FOUND) * len(reports), false


@pytest.mark.parametrize(("height", "width"), [(120, 160), (240, 180), (97, 131)])
def test_a_clean_set_gives_no_finding(height: int, width: int, tmp_path: Path) -> None:
    report = check_data(Corpus(tmp_path / "clean", seed=height, height=height, width=width).spec)
    assert report.findings == ()
    assert report.checked == sum(report.pictures.values()) == 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_clean_sets_give_no_alarm(seed: int, tmp_path: Path) -> None:
    report = check_data(Corpus(tmp_path / "clean", seed).spec)
    assert [item.kind for item in (*report.errors, *report.warnings)] == []
