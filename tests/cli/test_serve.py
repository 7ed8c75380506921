"""The verb ``serve``, up to where the server takes over."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from refineseg.cli.main import main
from refineseg.serving.access import Access


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


def test_names_pages_and_the_engine_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("refineseg.loading.load", lambda *given: seen.append(given[:4]))
    monkeypatch.setattr("refineseg.serving.server.serve", lambda *given, **_: seen.append(given[3]))
    names = ["--allow-host", "segment.lan", "--allow-host", "a.lan", "--allow-origin", "https://example.org"]
    assert main(["serve", "--model", "model.xml", "--engine", "openvino", "--host", "0.0.0.0", *names]) == 0
    assert seen[0] == ("model.xml", "auto", "32", "openvino")
    assert seen[1] == Access("0.0.0.0", ("segment.lan", "a.lan"), ("https://example.org",))
    assert main(["serve", "--allow-host", "http://segment.lan"]) == 2
    assert len(seen) == 2
