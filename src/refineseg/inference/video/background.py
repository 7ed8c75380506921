"""Reading ahead and writing behind in background threads, with bounded queues."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
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
        _put(queue, end, stopped, False)

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


class BackgroundWriter(Generic[T]):
    """Passes items to ``take`` in a background thread, in order, with up to ``depth`` of them waiting.

    A context manager: on exit it waits for all items, or drops them after an error. An error of ``take`` is raised
        by
    the next ``put`` or on exit.
    """

    def __init__(self, take: Callable[[T], None], depth: int = 4) -> None:
        self._take = take
        self._queue: Queue[T | _End] = Queue(depth)
        self._stopped = Event()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="background writer", daemon=True)

    def __enter__(self) -> BackgroundWriter[T]:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            self._stopped.set()
        _put(self._queue, _End(), self._stopped, False)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Queue an item; waits while the queue is full."""
        _put(self._queue, item, self._stopped, False)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                item = self._queue.get(timeout=WAIT)
            except Empty:
                continue
            if isinstance(item, _End):
                return
            try:
                self._take(item)
            except BaseException as error:  # raised by the writer
                self._error = error
                self._stopped.set()


def _put(queue: Queue[T | _End], item: T | _End, stopped: Event, latest: bool) -> None:
    """Queue an item unless the other side has stopped; ``latest`` drops the oldest if the queue is full."""
    while not stopped.is_set():
        try:
            queue.put(item, block=not latest, timeout=WAIT)
            return
        except Full:
            if latest:
                with suppress(Empty):
                    queue.get_nowait()
