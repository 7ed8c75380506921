"""Limits of a server, and the count of requests and memory against them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import ceil

from refineseg.errors import InputError
from refineseg.serving.problems import Problem
from refineseg.system.text import counted

Reserve = Callable[[int], None]  # reserves bytes for a request


@dataclass(frozen=True)
class Limits:
    """Limits of one server."""

    bytes: int = 20 << 20  # size of a request's body
    pixels: int = 16_000_000  # pixels per request, summed over all scales and flips
    requests: int = 64  # number of open requests (being read, queued or running); further ones get 503
    memory: int = 2 << 30  # bytes for all requests together, estimated before they are allocated
    batch: int = 8  # number of pictures in a batch
    wait: float = 0.005  # seconds that a picture waits for others to join its batch
    seconds: float = 60.0  # time limit of a request

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0 and not (item.name == "wait" and value == 0):
                raise InputError(f"expected the server's limit {item.name} above 0, got {value}")


class Capacity:
    """Counts open requests and their memory; a request beyond the limits gets 503."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.active = 0
        self.memory = 0
        self._seconds_per_picture = 0.1  # moving average
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, memory: int) -> Iterator[Reserve]:
        """A slot for one request that starts with ``memory`` bytes; gives a function that reserves more.

        Problem: 503 if no slot is free or all requests together exceed the memory, 413 if this one alone does.
        """
        reserved = 0

        def reserve(more: int) -> None:
            nonlocal reserved
            with self._lock:
                if reserved + more > self.limits.memory:
                    raise Problem(
                        413,
                        f"expected a request that takes at most {self.limits.memory >> 20} MiB, this one takes "
                        f"about {(reserved + more) >> 20}: send a smaller picture or request fewer outputs",
                    )
                if self.memory + more > self.limits.memory:
                    raise self._full()
                self.memory += more
                reserved += more

        with self._lock:
            if self.active >= self.limits.requests:
                raise self._full()
            self.active += 1
        try:
            reserve(memory)
            yield reserve
        finally:
            with self._lock:
                self.active -= 1
                self.memory -= reserved

    @contextmanager
    def hold(self, memory: int) -> Iterator[None]:
        """Count the bytes of an answer until the client has read it; never refused, since they exist already."""
        with self._lock:
            self.memory += memory
        try:
            yield
        finally:
            with self._lock:
                self.memory -= memory

    def record(self, seconds: float) -> None:
        """Record the time a picture took, for the next ``Retry-After``."""
        self._seconds_per_picture += 0.1 * (seconds - self._seconds_per_picture)

    def _full(self) -> Problem:
        wait = min(60, max(1, ceil(self.active * self._seconds_per_picture)))
        return Problem(
            503,
            f"the server is busy with {counted(self.active, 'request')}: try again in {wait} s",
            {"Retry-After": str(wait)},
        )
