"""The one thread that runs the network: queued pictures of one size with the same options make a batch."""

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
from refineseg.serving.options import RequestOptions
from refineseg.system.memory import hand_back_memory, is_out_of_memory

WARMUP_SIDE = 64  # pixels of a first, black picture
Record = Callable[[int, float], None]  # pictures of a batch, seconds


class Abandoned(Exception):
    """The client left before its picture was done."""


@dataclass(eq=False)
class Job:
    """A picture in the queue.

    Attributes:
        pixels: HxWx3 uint8 RGB.
        options: options of the request.
        future: gets the result or the exception.
        abandoned: set when the client has left; the windows that remain are then skipped.
        arrived: when it joined the queue, in seconds of ``time.monotonic``.
        started: when the network began, on the same clock.
    """

    pixels: UInt8
    options: RequestOptions
    future: Future[Result] = field(default_factory=Future)
    abandoned: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0

    @property
    def key(self) -> tuple[object, ...]:
        """Jobs with equal keys can share a batch."""
        return self.pixels.shape, self.options.predict, self.options.tile


class Batcher:
    """A queue and its worker.

    Args:
        segmenter: the predictor.
        limits: size of a batch, and how long its first picture waits for others.
        record: called after every batch.
        active: number of requests, queued or not; a picture waits only for those that may still join it.
    """

    def __init__(
        self, segmenter: Segmenter, limits: Limits, record: Record, active: Callable[[], float] = lambda: inf
    ) -> None:
        self.segmenter = segmenter
        self.limits = limits
        self._record = record
        self._active = active
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._warm: Future[None] = Future()
        self._worker = threading.Thread(target=self._work, name="network", daemon=True)

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        return len(self._jobs)

    @property
    def alive(self) -> bool:
        """Whether jobs are accepted."""
        return self._worker.is_alive() and not self._stopping

    def start(self) -> None:
        """Warm the network up, then start working; raises what the network raises."""
        self._worker.start()
        self._warm.result()

    def stop(self) -> None:
        """Finish the queue, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._worker.join()

    def submit(self, job: Job) -> None:
        """Queue a job; its future gets the result."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            known = self.segmenter.card.channels
            side, channels = WARMUP_SIDE, 3 if known is None else known.count
            self.segmenter.predict_batch([np.zeros((side, side, channels), np.uint8)], PredictOptions())
            _ = (
                self.segmenter.runner.overlap,
                self.segmenter.runner.bytes_per_pixel,
            )  # measured once, before the first request
        except BaseException as error:
            self._warm.set_exception(error)
            return
        self._warm.set_result(None)
        while batch := self._next():
            jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._run(jobs)

    def _next(self) -> list[Job]:
        """The oldest job and those that can join it, in order of arrival; empty when the server stops."""
        with self._changed:
            while not self._jobs:
                if self._stopping:
                    return []
                self._changed.wait()
            first = self._jobs[0]
            most = min(
                self.limits.batch, self.segmenter.memory.at_once(first.pixels.shape[:2], first.options.predict)
            )
            until = first.arrived + self.limits.wait
            while len(batch := self._compatible(first, most)) < most and not self._stopping:
                left = until - time.monotonic()
                if left <= 0 or self._active() <= len(self._jobs):
                    break
                self._changed.wait(left)
            taken = set(map(id, batch))
            self._jobs = [job for job in self._jobs if id(job) not in taken]
            return batch

    def _compatible(self, first: Job, most: int) -> list[Job]:
        return [job for job in self._jobs if job.key == first.key][:most]

    def _fail(self, jobs: Sequence[Job], failure: BaseException) -> None:
        """Tell the jobs of a batch; those that did not fit in memory together are run one by one."""
        if isinstance(failure, MemoryError):
            hand_back_memory()
        for job in jobs:
            if isinstance(failure, MemoryError) and len(jobs) > 1:
                self._run([job])
            else:
                job.future.set_exception(failure)

    def _run(self, jobs: Sequence[Job]) -> None:
        def check_abandoned() -> None:
            if all(job.abandoned for job in jobs):
                raise Abandoned

        start = time.monotonic()
        for job in jobs:
            job.started = start
        options = jobs[0].options
        pictures = [job.pixels for job in jobs]
        failure: BaseException | None = None
        try:
            results = self.segmenter.predict_batch(pictures, options.predict, options.tile, check_abandoned)
        except BaseException as error:  # the worker lives on
            # A new one where memory ran out: the frames of the old one hold what was allocated.
            failure = MemoryError() if is_out_of_memory(error) else error
        if failure is not None:
            self._fail(jobs, failure)
            return
        self._record(len(jobs), time.monotonic() - start)
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
