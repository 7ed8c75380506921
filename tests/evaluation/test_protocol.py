"""Protocols: what they say, that they come back from dict, and what each name means."""

from __future__ import annotations

import json

import pytest

from refineseg.data.registry import benchmark_names
from refineseg.errors import ConfigError, InputError
from refineseg.evaluation.protocol import PROTOCOLS, Protocol, find_protocol

NAMES = sorted({*PROTOCOLS, *benchmark_names()})


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_through_json(name: str) -> None:
    protocol = find_protocol(name)
    assert protocol.name == name
    assert Protocol.from_dict(json.loads(json.dumps(protocol.to_dict()))) == protocol


def test_paper_is_the_authors_way() -> None:
    paper = find_protocol("paper")
    assert paper.scales == (0.4, 0.6, 0.8, 1.0, 1.2)
    assert (paper.flip, paper.fusion, paper.mean_over, paper.short_edge) == (False, "log", "truth", (450, 800))
    single = find_protocol("paper-single")
    assert (single.scales, single.short_edge) == ((0.8,), (450, 800))
    text = paper.describe()
    for part in ("0.4, 0.6, 0.8, 1, 1.2", "log space", "no flip", "own size", "void left out", "ground truth"):
        assert part in text


def test_each_protocol_is_described_differently() -> None:
    assert len({protocol.describe() for protocol in map(find_protocol, NAMES)}) == len(NAMES)
    assert "with flip" in PROTOCOLS["ms-flip"].describe()
    assert "truth or prediction" in find_protocol("cityscapes").describe()


def test_short_edge_is_folded_into_the_scales() -> None:
    protocol = Protocol("x", scales=(0.5, 1.0), short_edge=(450, 800))
    assert protocol.scales_for(900, 1000) == pytest.approx((0.5 * 800 / 900, 800 / 900))
    assert protocol.scales_for(300, 225) == pytest.approx((1.0, 2.0))
    assert protocol.scales_for(600, 700) == (0.5, 1.0)
    assert Protocol().scales_for(10, 10) == (1.0,)


def test_differences_name_the_settings() -> None:
    assert not find_protocol("single").differences(find_protocol("camvid"))
    changed = find_protocol("single").differences(find_protocol("cityscapes"))
    assert changed["mean_over"] == ("truth", "union")
    assert set(changed) == {"mean_over", "categories"}


def test_wrong_ones_are_refused() -> None:
    with pytest.raises(InputError, match=r"unknown protocol .papre.: known are single, paper"):
        find_protocol("papre")
    with pytest.raises(ConfigError, match="mean_over"):
        Protocol.from_dict({"mean_over": "some"})
    with pytest.raises(ConfigError, match="unknown setting"):
        Protocol.from_dict({"scale": [1.0]})
    with pytest.raises(InputError, match="scales above 0"):
        Protocol(scales=(0.0,))
    with pytest.raises(InputError, match="short_edge"):
        Protocol(short_edge=(800, 450))
