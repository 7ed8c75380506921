"""The one thread that runs the network: pictures of one size and one wish that wait together are seen together."""

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
from refineseg.serving.options import Wanted

WARMING = 64  # pixels on each side of a first, black picture
Done = Callable[[int, float], None]  # pictures of a batch, seconds


class Abandoned(Exception):
    """Nobody waits for the work any more."""


@dataclass(eq=False)
class Job:
    """A picture on its way through the network.

    Attributes:
        pixels: HxWx3 uint8 RGB.
        wanted: how it is to be seen.
        future: gets the result, or what went wrong.
        abandoned: set when nobody waits any more; windows that are left are then not seen.
        arrived: when it joined the queue, and ``started`` when the network began, in seconds of one clock.
    """

    pixels: UInt8
    wanted: Wanted
    future: Future[Result] = field(default_factory=Future)
    abandoned: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0

    @property
    def key(self) -> tuple[object, ...]:
        """Jobs with the same one can be seen together."""
        return self.pixels.shape, self.wanted.predict, self.wanted.tile


class Batcher:
    """A queue and its worker.

    Args:
        segmenter: the predictor.
        limits: how many pictures a batch has at most, and how long the first of them waits for the others.
        done: called after every batch.
        inside: how many requests there are, queued or not; a picture waits only for those that may still join it.
    """

    def __init__(
        self, segmenter: Segmenter, limits: Limits, done: Done, inside: Callable[[], float] = lambda: inf
    ) -> None:
        self.segmenter = segmenter
        self.limits = limits
        self._done = done
        self._inside = inside
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
        """Whether a job handed in now would be done."""
        return self._worker.is_alive() and not self._stopping

    def start(self) -> None:
        """Warm the network, then work; raises what the network raises."""
        self._worker.start()
        self._warm.result()

    def stop(self) -> None:
        """Finish what is in the queue, then end."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._worker.join()

    def submit(self, job: Job) -> None:
        """Queue a job; the answer comes in its future."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            known = self.segmenter.card.channels
            side, channels = WARMING, 3 if known is None else known.count
            self.segmenter.predict_batch([np.zeros((side, side, channels), np.uint8)], PredictOptions())
            _ = self.segmenter.overlap, self.segmenter.bytes_per_pixel  # measured once, before anyone waits
        except BaseException as error:
            self._warm.set_exception(error)
            return
        self._warm.set_result(None)
        while batch := self._next():
            jobs = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._run(jobs)

    def _next(self) -> list[Job]:
        """The oldest job and those that can join it, in order of arrival; empty when all is done and we stop."""
        with self._changed:
            while not self._jobs:
                if self._stopping:
                    return []
                self._changed.wait()
            first = self._jobs[0]
            most = min(self.limits.batch, self.segmenter.at_once(first.pixels.shape[:2], first.wanted.predict))
            until = first.arrived + self.limits.wait
            while len(batch := self._alike(first, most)) < most and not self._stopping:
                left = until - time.monotonic()
                if left <= 0 or self._inside() <= len(self._jobs):
                    break
                self._changed.wait(left)
            taken = set(map(id, batch))
            self._jobs = [job for job in self._jobs if id(job) not in taken]
            return batch

    def _alike(self, first: Job, most: int) -> list[Job]:
        return [job for job in self._jobs if job.key == first.key][:most]

    def _run(self, jobs: Sequence[Job]) -> None:
        def each() -> None:
            if all(job.abandoned for job in jobs):
                raise Abandoned

        begun = time.monotonic()
        for job in jobs:
            job.started = begun
        first = jobs[0].wanted
        try:
            results = self.segmenter.predict_batch([job.pixels for job in jobs], first.predict, first.tile, each)
        except BaseException as error:  # the worker lives on; who waits is told
            for job in jobs:
                job.future.set_exception(error)
            return
        self._done(len(jobs), time.monotonic() - begun)
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
