"""Progress of long work, reported to a callback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Progress = Callable[[int, int], None]  # number done, total
TaskProgress = Callable[[str, int, int], None]  # task, amount done, total (0 if unknown)


def tracked(items: Iterable[T], total: int, progress: Progress | None) -> Iterator[T]:
    """The items, of which there are ``total``; ``progress``, if any, is called when each is done."""
    for done, item in enumerate(items, 1):
        yield item
        if progress is not None:
            progress(done, total)
