"""What a server takes on at most, and the room that requests stand in while they wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import ceil

from refineseg.errors import InputError
from refineseg.serving.problems import Refused


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        bytes: of a request's body.
        pixels: of a picture, over all the scales it is seen at and mirrored: the work of one request.
        requests: that are read, waiting or in work at a time; more are told to come back.
        memory: bytes that they may take together, reckoned before they are taken.
        batch: pictures that the network sees at once.
        wait: seconds that a picture waits for others to join it.
        seconds: until a request is given up.
    """

    bytes: int = 20 << 20
    pixels: int = 16_000_000
    requests: int = 64
    memory: int = 2 << 30
    batch: int = 8
    wait: float = 0.005
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not value > 0 and not (item.name == "wait" and value == 0):
                raise InputError(f"expected the server's limit {item.name} above 0, got {value}")


class Room:
    """Counts who is inside and how much memory they take; who does not fit is told when to come back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.inside = 0
        self.memory = 0
        self._pace = 0.1  # seconds a picture, lately
        self._lock = threading.Lock()

    @contextmanager
    def seat(self, memory: int) -> Iterator[Seat]:
        """A place for one request that begins with ``memory`` bytes; Refused (503) if there is none."""
        with self._lock:
            if self.inside >= self.limits.requests:
                raise self._full()
            self.inside += 1
        seat = Seat(self)
        try:
            seat.take(memory)
            yield seat
        finally:
            with self._lock:
                self.inside -= 1
                self.memory -= seat.memory

    def served(self, seconds: float) -> None:
        """Note what a picture took of the machine's time, for the next ``Retry-After``."""
        self._pace += 0.1 * (seconds - self._pace)

    def _full(self) -> Refused:
        wait = min(60, max(1, ceil(self.inside * self._pace)))
        return Refused(
            503,
            f"expected fewer requests at a time, the server is full with {self.inside}: retry in {wait} s",
            {"Retry-After": str(wait)},
        )


class Seat:
    """One request's share of the room."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.memory = 0

    def take(self, memory: int) -> None:
        """Take more bytes; Refused with 413 if no server of these limits can, with 503 if this one cannot now."""
        room = self.room
        with room._lock:
            if self.memory + memory > room.limits.memory:
                raise Refused(
                    413,
                    f"expected work of at most {room.limits.memory >> 20} MiB, this would take about "
                    f"{(self.memory + memory) >> 20}: send a smaller picture or ask for fewer outputs",
                )
            if room.memory + memory > room.limits.memory:
                raise room._full()
            room.memory += memory
            self.memory += memory
