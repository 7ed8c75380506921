"""Products are the same by either library, and the choice falls back to torch's own."""

from __future__ import annotations

import pytest
import torch

from refineseg.inference.fast import matmul
from refineseg.model.memory_saving import FIRST_STRIP_ONLY


@pytest.mark.parametrize("onednn", [False, True])
@torch.inference_mode()
def test_products_by_either_library(onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "by_onednn", lambda: onednn)
    torch.manual_seed(0)
    rows, weights = torch.randn(3, 7, 5), torch.randn(3, 4, 5)
    wanted = torch.einsum("mnc,mkc->mnk", rows.double(), weights.double())
    out = torch.full((3, 7, 4), torch.nan)
    matmul.batched_matmul(rows, weights, out)
    torch.testing.assert_close(out.double(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("theirs", "wins"), [(1.0, False), (1.1, False), (1.3, True)])
def test_the_faster_one_is_taken(theirs: float, wins: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([1.0, theirs])
    monkeypatch.setattr(matmul, "repeat", lambda work, **_: [next(seconds)])
    assert matmul._wins.__wrapped__() is wins


def test_a_wrong_or_missing_operation_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul, "_onednn", lambda rows, weight: rows)
    assert not matmul._wins.__wrapped__()

    def missing(rows: object, weight: object) -> None:
        raise AttributeError("no such operation")

    monkeypatch.setattr(matmul, "_onednn", missing)
    assert not matmul._wins.__wrapped__()


def test_planning_takes_torchs_own() -> None:
    token = FIRST_STRIP_ONLY.set(True)
    try:
        assert not matmul.by_onednn()
    finally:
        FIRST_STRIP_ONLY.reset(token)
