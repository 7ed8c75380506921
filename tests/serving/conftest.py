"""What the tests of the page share: one browser, one server of a tiny network, and visits that end clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from refineseg.inference.predictor import Segmenter
from refineseg.serving.limits import Limits
from tests.serving.browser import Visit, chromium, listening, ready
from tests.serving.made import tiny


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return tiny()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(segmenter: Segmenter, browser: Any) -> Iterator[str]:
    with listening(segmenter, Limits(pixels=50_000, bytes=300_000)) as address:
        yield address


@pytest.fixture(scope="module")
def desktop(browser: Any) -> Any:
    return browser.new_context(viewport={"width": 1280, "height": 800})


@pytest.fixture
def open_page(desktop: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Opens the page; what went wrong on it fails the test at its end."""
    visits: list[Visit] = []

    def open_page(*files: dict[str, Any], done: int | None = None, context: Any = desktop) -> Any:
        visits.append(Visit(context, address))
        page = visits[-1].page
        page.goto(address)
        if files:
            page.set_input_files("#files", list(files))
            ready(page, len(files) if done is None else done)
        return page

    yield open_page
    for visited in visits:
        visited.close()
