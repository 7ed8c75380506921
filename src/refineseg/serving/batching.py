"""The queue of pictures and the thread that runs the network on batches of one size and the same options."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf

import numpy as np

from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.labels import UInt8
from refineseg.serving.limits import Limits
from refineseg.serving.request_options import RequestOptions
from refineseg.system.memory import hand_back_memory, is_out_of_memory

WARMUP_SIDE = 64  # side in pixels of the black picture that warms the network up
BatchRecorder = Callable[[int, float], None]  # pictures of a batch, seconds


class Abandoned(Exception):
    """The client left before its picture was done."""


@dataclass(eq=False)
class QueuedPicture:
    """A picture in the queue."""

    pixels: UInt8  # HxWx3 uint8 RGB
    options: RequestOptions  # options of the request
    future: Future[Result] = field(default_factory=Future)  # receives the result or the exception
    abandoned: bool = False  # set when the client has left; remaining windows are then skipped
    # time at which it joined the queue, in seconds of ``time.monotonic``
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0  # time at which the network began, on the same clock

    @property
    def key(self) -> tuple[object, ...]:
        """Pictures with equal keys can share a batch."""
        return self.pixels.shape, self.options.predict, self.options.tile


class Batcher:
    """A queue and its worker thread.

    ``record`` is called after every batch; ``active`` returns the number of open requests: a picture waits for
    others only if some may still join it.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        limits: Limits,
        record: BatchRecorder,
        active: Callable[[], float] = lambda: inf,
    ) -> None:
        self.segmenter = segmenter
        self.limits = limits
        self._record = record
        self._active = active
        self._queue: list[QueuedPicture] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._warm: Future[None] = Future()
        self._worker = threading.Thread(target=self._work, name="network", daemon=True)

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        return len(self._queue)

    @property
    def alive(self) -> bool:
        """Whether pictures are accepted."""
        return self._worker.is_alive() and not self._stopping

    def start(self) -> None:
        """Warm the network up, then start working; raises the network's own errors."""
        self._worker.start()
        self._warm.result()

    def stop(self) -> None:
        """Finish the queue, then stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._worker.join()

    def submit(self, picture: QueuedPicture) -> None:
        """Queue a picture; its future receives the result."""
        with self._changed:
            self._queue.append(picture)
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            known = self.segmenter.card.channels
            side, channels = WARMUP_SIDE, 3 if known is None else known.count
            self.segmenter.predict_batch([np.zeros((side, side, channels), np.uint8)], PredictOptions())
            runner = self.segmenter.runner
            _ = runner.overlap, runner.bytes_per_pixel  # measured once, before the first request
        except BaseException as error:
            self._warm.set_exception(error)
            return
        self._warm.set_result(None)
        while batch := self._next():
            pictures = [picture for picture in batch if picture.future.set_running_or_notify_cancel()]
            if pictures:
                self._run(pictures)
            del batch, pictures  # or they would stay in memory until the next batch

    def _next(self) -> list[QueuedPicture]:
        """The oldest picture and those that can join it, in order of arrival; empty when the server stops."""
        with self._changed:
            while not self._queue:
                if self._stopping:
                    return []
                self._changed.wait()
            first = self._queue[0]
            most = min(
                self.limits.batch, self.segmenter.memory.at_once(first.pixels.shape[:2], first.options.predict)
            )
            until = first.arrived + self.limits.wait
            while True:
                batch = [picture for picture in self._queue if picture.key == first.key][:most]
                left = until - time.monotonic()
                if len(batch) == most or self._stopping or left <= 0 or self._active() <= len(self._queue):
                    break
                self._changed.wait(left)
            self._queue = [picture for picture in self._queue if picture not in batch]  # compared by identity
            return batch

    def _fail(self, pictures: Sequence[QueuedPicture], failure: BaseException) -> None:
        """Pass a failure to a batch; pictures that did not fit in memory together are run one by one."""
        if isinstance(failure, MemoryError):
            hand_back_memory()
        for picture in pictures:
            if isinstance(failure, MemoryError) and len(pictures) > 1:
                self._run([picture])
            else:
                picture.future.set_exception(failure)

    def _run(self, pictures: Sequence[QueuedPicture]) -> None:
        def check_abandoned() -> None:
            if all(picture.abandoned for picture in pictures):
                raise Abandoned

        start = time.monotonic()
        for picture in pictures:
            picture.started = start
        options = pictures[0].options
        pixels = [picture.pixels for picture in pictures]
        failure: BaseException | None = None
        try:
            results = self.segmenter.predict_batch(pixels, options.predict, options.tile, check_abandoned)
        except BaseException as error:  # the worker must keep running
            # The frames of an out-of-memory error hold what was allocated, so a new one is made.
            failure = MemoryError() if is_out_of_memory(error) else error
        if failure is not None:
            self._fail(pictures, failure)
            return
        self._record(len(pictures), time.monotonic() - start)
        for picture, result in zip(pictures, results, strict=True):
            picture.future.set_result(result)
