from __future__ import annotations

import pytest

from refineseg.data.check.rules.values import diagnose, stretched
from refineseg.labels import LabelMap

FROM_0 = LabelMap.from_names(["a", "b", "c"])  # 0, 1, 2; 255 ignored
FROM_1 = LabelMap.from_names(["a", "b", "c"], first=1)
NOTHING_IGNORED = LabelMap.from_names(["a", "b", "c"], ignore=())


@pytest.mark.parametrize(
    ("label_map", "values", "unknown", "kind", "words"),
    [
        (FROM_0, {1, 2, 3}, {3}, "off-by-one", "one too high"),
        (FROM_0, {1, 3, 255}, {3}, "off-by-one", "one too high"),
        (FROM_1, {0, 1, 2}, {0}, "off-by-one", "one too low"),
        (FROM_0, {0, 1, 3}, {3}, "off-by-one", "one value more"),
        (FROM_1, {0, 1, 2, 3}, {0}, "void-not-declared", "unlabelled"),
        (NOTHING_IGNORED, {0, 1, 255}, {255}, "void-not-declared", "unlabelled"),
        (FROM_0, {0, 127, 255}, {127}, "stretched-values", "scaled"),
        (FROM_0, {0, 40, 80}, {40, 80}, "stretched-values", "scaled"),
        (FROM_0, {0, 1001, 2017}, {1001, 2017}, "instance-ids", "instance"),
        (FROM_0, {0, 1, 77}, {77}, "unknown-values", ""),
        (FROM_0, {0, 9001}, {9001}, "unknown-values", ""),
    ],
)
def test_diagnosis(label_map: LabelMap, values: set[int], unknown: set[int], kind: str, words: str) -> None:
    found, explanation, fix = diagnose(label_map, values, unknown)
    assert found == kind
    assert words in explanation
    assert fix


def test_stretched() -> None:
    assert stretched({0, 85, 170, 255}, 4)
    assert stretched({0, 64, 128, 191, 255}, 5)
    assert not stretched({0, 1, 2}, 3)
    assert not stretched({0, 2, 9}, 10)
    assert not stretched({0}, 4)
