"""The verb ``serve``, up to where the server takes over."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from refineseg.cli.main import main


def test_only_the_networks_thread_gets_a_team(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is opened on one thread, and the server then has as many as before."""
    seen: list[int] = []
    monkeypatch.setattr("refineseg.loading.load", lambda *_: seen.append(torch.get_num_threads()))
    monkeypatch.setattr("refineseg.serving.server.serve", lambda *_, **__: seen.append(torch.get_num_threads()))
    before: Any = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert main(["serve"]) == 0
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]
