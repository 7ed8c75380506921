"""Reading ahead and writing behind in background threads, with bounded queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event
from typing import Any, TypeVar

T = TypeVar("T")
END: Any = object()  # follows the last item


def prefetched(items: Generator[T], depth: int = 4) -> Generator[T]:
    """The same items, read by a background thread up to ``depth`` in advance; its errors are raised here.

    Closing the iterator ends the thread and closes ``items``, as does its end.
    """
    with closing(items), ThreadPoolExecutor(1, "prefetched") as thread:
        waiting = deque(thread.submit(next, items, END) for _ in range(depth))
        try:
            while (item := waiting.popleft().result()) is not END:
                waiting.append(thread.submit(next, items, END))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)


def newest(items: Generator[T]) -> Generator[T]:
    """The newest item each time, for live sources: a background thread reads on and drops items not taken in time.

    Errors and closing as for ``prefetched``.
    """
    kept: deque[T] = deque(maxlen=1)
    changed, stopped = Event(), Event()

    def read() -> None:
        for item in items:
            kept.append(item)
            changed.set()
            if stopped.is_set():
                return

    with closing(items), ThreadPoolExecutor(1, "newest") as thread:
        reading = thread.submit(read)
        reading.add_done_callback(lambda _: changed.set())
        try:
            while kept or not reading.done():
                changed.wait()
                changed.clear()  # before looking, so that nothing is missed
                if kept:
                    yield kept.popleft()
            reading.result()
        finally:
            stopped.set()


@contextmanager
def in_background(take: Callable[[T], None], depth: int = 4) -> Iterator[Callable[[T], None]]:
    """A function that passes items to ``take`` in a background thread, in order; up to ``depth`` of them wait.

    The end of the block waits for all items, or drops the waiting ones after an error. An error of ``take`` is
    raised by a later call or at the end.
    """
    unfinished: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, "in background") as thread:

        def put(item: T) -> None:
            if len(unfinished) > depth:
                unfinished.popleft().result()
            unfinished.append(thread.submit(take, item))

        try:
            yield put
            while unfinished:
                unfinished.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)
