"""Reading ahead and writing behind in background threads, with bounded queues."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
WAIT = 0.1  # seconds between checks whether the other side has stopped


class _End:
    """Marks the end of the items, with the error that ended them early, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetched(items: Iterable[T], depth: int = 4, latest: bool = False) -> Generator[T]:
    """The same items, produced by a background thread up to ``depth`` in advance.

    Args:
        items: iterated and closed in that thread; its errors are raised here.
        depth: largest number of waiting items.
        latest: whether a new item replaces the oldest waiting one (a camera).

    Closing the iterator ends the thread.
    """
    queue: Queue[T | _End] = Queue(depth)
    stopped = Event()

    def make() -> None:
        end = _End()
        try:
            for item in items:
                _put(queue, item, stopped, latest)
                if stopped.is_set():
                    break
        except BaseException as error:  # raised by the reader
            end = _End(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        _put(queue, end, stopped)

    thread = Thread(target=make, name="prefetched", daemon=True)
    thread.start()
    try:
        while True:
            item = queue.get()
            if not isinstance(item, _End):
                yield item
                continue
            if item.error is not None:
                raise item.error
            return
    finally:
        stopped.set()
        thread.join()


def _put(queue: Queue[T | _End], item: T | _End, stopped: Event, replace: bool = False) -> None:
    """Queue an item unless the reader has stopped; ``replace`` drops the oldest one if the queue is full."""
    while not stopped.is_set():
        try:
            queue.put(item, block=not replace, timeout=WAIT)
            return
        except Full:
            if replace:
                with suppress(Empty):
                    queue.get_nowait()


class BackgroundWriter(Generic[T]):
    """Passes items to ``take`` in a background thread, in order, with up to ``depth`` of them waiting.

    A context manager: on exit it waits for all items, or drops the waiting ones after an error. An error of
    ``take`` is raised by a later ``put`` or on exit.
    """

    def __init__(self, take: Callable[[T], None], depth: int = 4) -> None:
        self._take, self._depth = take, depth
        self._thread = ThreadPoolExecutor(1, "background writer")
        self._unfinished: deque[Future[None]] = deque()

    def __enter__(self) -> BackgroundWriter[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            while kind is None and self._unfinished:
                self._unfinished.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)

    def put(self, item: T) -> None:
        """Queue an item; waits while ``depth`` items are waiting."""
        if len(self._unfinished) > self._depth:
            self._unfinished.popleft().result()
        self._unfinished.append(self._thread.submit(self._take, item))
