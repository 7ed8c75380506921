"""Work in other threads keeps its order, hands on errors and ends when it is no longer needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator

import pytest

from refineseg.inference.video.background import in_background, newest, prefetched

NAMES = ("prefetched", "newest", "in background")


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(NAMES)]


def test_ahead_keeps_order_and_a_bound() -> None:
    made: list[int] = []

    def items() -> Generator[int]:
        for i in range(20):
            made.append(i)
            yield i

    seen = []
    for item in prefetched(items(), depth=3):
        time.sleep(0.002)
        assert len(made) <= item + 6  # three wait, one is in hand, one is being made, one is taken
        seen.append(item)
    assert seen == list(range(20))
    assert not running()


def test_ahead_hands_on_errors_and_ends_when_closed() -> None:
    closed = []

    def items(fail: bool) -> Generator[int]:
        try:
            yield 1
            yield 2
            if fail:
                raise RuntimeError("broken")
            while True:
                yield 3
        finally:
            closed.append(fail)

    found = prefetched(items(True))
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(RuntimeError, match="broken"):
        next(found)
    endless = prefetched(items(False), depth=1)
    assert next(endless) == 1
    endless.close()
    assert closed == [True, False]
    assert not running()


def test_the_latest_replaces_what_waits() -> None:
    ready = threading.Event()

    def items() -> Generator[int]:
        yield 0
        ready.wait()
        yield from range(1, 50)

    found = newest(items())
    assert next(found) == 0
    ready.set()
    time.sleep(0.2)
    rest = list(found)
    assert rest[-1] == 49
    assert len(rest) < 10
    assert not running()


def test_the_latest_hands_on_errors_and_ends_when_closed() -> None:
    closed = []

    def items(fail: bool) -> Generator[int]:
        try:
            yield 1
            if fail:
                raise RuntimeError("broken")
            while True:
                yield 2
        finally:
            closed.append(fail)

    with pytest.raises(RuntimeError, match="broken"):
        list(newest(items(True)))
    endless = newest(items(False))
    assert next(endless) in (1, 2)
    endless.close()
    assert closed == [True, False]
    assert not running()


def test_behind_does_all_in_order_or_says_why_not() -> None:
    done: list[int] = []
    with in_background(done.append, depth=2) as put:
        for i in range(10):
            put(i)
    assert done == list(range(10))

    def fail(item: int) -> None:
        raise ValueError(f"no {item}")

    with pytest.raises(ValueError, match="no 1"), in_background(fail) as put:
        put(1)
    taken: list[int] = []

    def put_many(put: Callable[[int], None]) -> None:
        for i in range(100):
            put(i)
            taken.append(i)

    with pytest.raises(ValueError, match="no 0"), in_background(fail, depth=2) as put:
        put_many(put)
    assert taken == [0, 1, 2]  # the first call that had to wait said so
    with pytest.raises(KeyError, match="mine"), in_background(done.append):
        raise KeyError("mine")
    assert not running()
