"""Which names are taken for a left and a right side, and which pairs count as told."""

from __future__ import annotations

import dataclasses

import pytest

from refineseg.data.check.rules.left_right import find, unpaired_sides
from refineseg.labels import LabelMap


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left arm", "right arm", "head"], [("left arm", "right arm")]),
        (["Right-shoe", "Left-shoe"], [("Left-shoe", "Right-shoe")]),
        (["upper_arm_l", "upper_arm_r"], [("upper_arm_l", "upper_arm_r")]),
        (["r.eye", "l.eye", "left ear", "right ear"], [("l.eye", "r.eye"), ("left ear", "right ear")]),
        (["left lane", "lane"], []),  # no right one: nothing to swap with
        (["cleft", "cright", "bright", "bleft"], []),  # parts of longer words
        (["upper arms", "lower arms"], []),
    ],
)
def test_names(names: list[str], pairs: list[tuple[str, str]]) -> None:
    assert unpaired_sides(LabelMap.from_names(names)) == pairs


def test_a_told_pair_is_no_finding() -> None:
    names = ["left arm", "right arm"]
    plain = LabelMap.from_names(names)
    (finding,) = find(plain)
    assert "mirror: right arm" in finding.fix
    assert finding.count == 2
    told = [dataclasses.replace(item, mirror=names[1 - index]) for index, item in enumerate(plain.classes)]
    assert not list(find(LabelMap(tuple(told))))
