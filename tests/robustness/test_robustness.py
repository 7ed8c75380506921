"""Bad inputs, a part of the corpus and all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.case import Case
from tests.robustness.corpus import corpus
from tests.robustness.runner import run_case
from tests.serving.made import serving, tiny

EVERY = 30  # th case of the corpus is in the shorter part
# Slow as a whole until the corpus was seen green to its end and the shorter part to take seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def cases(place: Path) -> list[Case]:
    return list(corpus(place))


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with serving(tiny()) as client:
        yield client


def wrong(cases: list[Case], place: Path, client: Any) -> list[str]:
    outcomes = [outcome for case in cases for outcome in run_case(case, place, place / "work", client)]
    assert len(outcomes) >= len(cases)
    return [f"{o.case.id}, {o.command}: {'; '.join(o.wrong)} ({o.said!r})" for o in outcomes if o.wrong]


def test_the_corpus_is_large_and_its_names_are_unique(cases: list[Case]) -> None:
    counts = Counter(case.id for case in cases)
    assert len(counts) == len(cases) >= 200
    assert not [name for name, count in counts.items() if count > 1]
    kinds = "picture mask yaml settings checkpoint model run archive scores annotation arguments diverging video"
    assert {case.kind for case in cases} == {*kinds.split(), "folder"}


def test_some_bad_inputs(cases: list[Case], place: Path, client: Any) -> None:
    assert not wrong(cases[::EVERY], place, client)


@pytest.mark.timeout(3600)
def test_all_bad_inputs(cases: list[Case], place: Path, client: Any) -> None:
    assert not wrong(cases, place, client)
