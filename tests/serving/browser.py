"""The page in the system's Chromium, on a server of a tiny network; skips where either is not there."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from refineseg.inference.predictor import Segmenter
from refineseg.serving.access import Access
from refineseg.serving.limits import Limits
from refineseg.serving.server import bound, http_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        yield browser
        browser.close()


@contextmanager
def listening(
    segmenter: Segmenter, limits: Limits | None = None, key: str | None = None, access: Access | None = None
) -> Iterator[str]:
    """A server on a free port of this machine; gives its address."""
    pytest.importorskip("uvicorn")
    from refineseg.serving.app import create_app

    limits = limits or Limits()
    with bound("127.0.0.1", 0) as listener:
        server = http_server(create_app(segmenter, limits, key, access), limits.seconds, "error")
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join()


class Visit:
    """One visit of the page: what it asked for, and what went wrong on it."""

    def __init__(self, context: Any, address: str) -> None:
        self.address = address
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)  # of a machine that others use too
        self.asked: list[str] = []
        self.troubles: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        # The browser itself writes a line for every refusal; those are looked at by their message on the page.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.troubles.append(message.text)

    def close(self) -> None:
        """Nothing came from elsewhere, nothing was blocked, no script failed."""
        self.page.close()
        assert self.troubles == []
        allowed = (self.address, f"blob:{self.address}", "data:")
        assert [url for url in self.asked if not url.startswith(allowed)] == []
        assert self.asked[0] == self.address


def ready(page: Any, done: int) -> None:
    """Wait until so many pictures are segmented."""
    if done:
        page.wait_for_selector(f":nth-match(.item[data-state=done], {done})")
