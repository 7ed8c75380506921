"""Shares of the processes."""

from __future__ import annotations

import pytest
import torch

from refineseg.system import processes


@pytest.mark.parametrize(("count", "world"), [(0, 1), (7, 1), (7, 2), (3, 5), (101, 4)])
def test_shares_are_blocks_that_cover_all(count: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in range(world):
        monkeypatch.setattr(processes, "joined_world", lambda rank=rank: (rank, world))
        shares.append(processes.own_share(count))
    assert [item for share in shares for item in share] == list(range(count))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1
    assert lengths[0] == max(lengths)


def test_one_process_keeps_what_it_has() -> None:
    assert processes.launched_world() == processes.joined_world() == (0, 1)
    assert processes.is_first()
    assert processes.gather("x") == ["x"]
    assert processes.mean(torch.tensor(3.0)) == 3.0
    with processes.process_group():
        assert processes.joined_world() == (0, 1)
