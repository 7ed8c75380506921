"""The queue: what waits together is seen together, in order, within bounds; what nobody wants is dropped."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.inference.tiles.tiling import BUDGET
from refineseg.labels import UInt8
from refineseg.serving.app import in_parts
from refineseg.serving.batching import Abandoned, Batcher, QueuedPicture
from refineseg.serving.limits import Capacity, Limits
from refineseg.serving.problems import Problem
from refineseg.serving.request_options import RequestOptions
from tests.serving.made import SEGMENT, encoded, pixels, serving, tiny


class Gated(Segmenter):
    """A predictor that waits at a gate, and notes what it is given."""

    def __init__(self) -> None:
        inner = tiny()
        super().__init__(inner.runner, inner.card, inner.model)
        self.runner.__dict__["overlap"] = 64
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[list[int]] = []

    def predict_batch(
        self,
        pictures: Sequence[UInt8],
        options: PredictOptions,
        tile: Tile = None,
        each: Callable[[], None] | None = None,
    ) -> list[Result]:
        if pictures[0].shape[:2] != (64, 64):  # the warming one is not counted
            self.batches.append([int(picture[0, 0, 0]) for picture in pictures])
            self.entered.release()
            self.gate.wait(20)
        return super().predict_batch(pictures, options, tile, each)


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def batcher(gated: Gated) -> Iterator[Batcher]:
    batcher = Batcher(gated, Limits(batch=3, wait=0.0), lambda _pictures, _seconds: None)
    batcher.start()
    yield batcher
    gated.gate.set()
    batcher.stop()


def job(number: int, size: tuple[int, int] = (8, 12), flip: bool = False) -> QueuedPicture:
    return QueuedPicture(np.full((*size, 3), number, np.uint8), RequestOptions(predict=PredictOptions(flip=flip)))


def test_what_waits_is_gathered_by_size_and_options_in_order(gated: Gated, batcher: Batcher) -> None:
    gated.gate.clear()
    jobs = [job(0)]
    batcher.submit(jobs[0])
    assert gated.entered.acquire(timeout=10)
    jobs += [job(1), job(2, (9, 12)), job(3), job(4, flip=True), job(5), job(6), job(7, (9, 12))]
    for item in jobs[1:]:
        batcher.submit(item)
    assert batcher.waiting == 7
    gated.gate.set()
    for item in jobs:
        assert np.array_equal(item.future.result(20).image, item.pixels)
    assert gated.batches == [[0], [1, 3, 5], [2, 7], [4], [6]]


def test_a_picture_waits_for_others_only_as_long_as_it_is_told(gated: Gated) -> None:
    batcher = Batcher(gated, Limits(batch=2, wait=30.0), lambda _pictures, _seconds: None)
    batcher.start()
    first, second = job(1), job(2)
    begun = time.monotonic()
    batcher.submit(first)
    time.sleep(0.1)
    assert gated.batches == []
    batcher.submit(second)  # the batch is full: nobody waits any longer
    second.future.result(20)
    assert time.monotonic() - begun < 20
    assert gated.batches == [[1, 2]]
    last = job(3)
    batcher.submit(last)
    batcher.stop()  # stopping ends the wait, not the work
    assert last.future.done()
    assert not batcher.alive


def test_who_is_alone_does_not_wait(gated: Gated) -> None:
    with serving(gated, Limits(wait=30.0)) as client:
        begun = time.monotonic()
        assert client.post(SEGMENT, content=encoded(pixels())).status_code == 200
        assert time.monotonic() - begun < 20


def test_memory_bounds_the_batch(gated: Gated, batcher: Batcher) -> None:
    gated.runner.__dict__["bytes_per_pixel"] = float(BUDGET) / (8 * 12) / 2.5  # two fit
    gated.gate.clear()
    jobs = [job(number) for number in range(6)]
    for item in jobs:
        batcher.submit(item)
        if item is jobs[0]:
            assert gated.entered.acquire(timeout=10)
    gated.gate.set()
    for item in jobs:
        item.future.result(20)
    assert gated.batches == [[0], [1, 2], [3, 4], [5]]


def test_dropped_jobs_are_not_seen_and_errors_reach_their_own(gated: Gated, batcher: Batcher) -> None:
    gated.gate.clear()
    jobs = [job(number) for number in range(3)]
    for item in jobs:
        batcher.submit(item)
        if item is jobs[0]:
            assert gated.entered.acquire(timeout=10)
    assert jobs[1].future.cancel()
    gated.gate.set()
    jobs[2].future.result(20)
    assert gated.batches == [[0], [2]]
    bad = QueuedPicture(np.zeros((200, 200, 3), np.uint8), RequestOptions(tile=32))  # no room for the overlap
    batcher.submit(bad)
    with pytest.raises(Exception, match="expected tiles at least"):
        bad.future.result(20)
    after = job(9)
    batcher.submit(after)
    after.future.result(20)


def test_windows_that_nobody_waits_for_are_left_out(gated: Gated, batcher: Batcher) -> None:
    gated.gate.clear()
    large = QueuedPicture(np.zeros((300, 900, 3), np.uint8), RequestOptions(tile=128))
    batcher.submit(large)
    assert gated.entered.acquire(timeout=10)
    large.abandoned = True
    gated.gate.set()
    with pytest.raises(Abandoned):
        large.future.result(20)


def test_an_answer_is_memory_until_it_is_read() -> None:
    """A client that stops reading leaves the answer in the server; when it is let go, the memory is free."""
    capacity, content = Capacity(Limits(memory=1_000_000)), bytes(range(256)) * 3000

    async def read() -> list[bytes]:
        parts = in_parts(content, capacity)
        first = await anext(parts)
        with pytest.raises(Problem) as told, capacity.slot(300_000):
            pass
        assert told.value.status == 503
        return [first, *[part async for part in parts]]

    async def leave() -> None:
        parts = in_parts(content, capacity)
        await anext(parts)
        await parts.aclose()

    assert b"".join(asyncio.run(read())) == content
    assert capacity.memory == 0
    asyncio.run(leave())
    assert capacity.memory == 0


def test_capacity_by_hand() -> None:
    capacity = Capacity(Limits(requests=2, memory=100))
    with capacity.slot(60) as reserve:
        with pytest.raises(Problem) as told, capacity.slot(60):
            pass
        assert told.value.status == 503  # would fit later
        with capacity.slot(30), pytest.raises(Problem) as told, capacity.slot(1):
            pass
        assert told.value.status == 503  # two are inside
        assert int(told.value.headers["Retry-After"]) >= 1
        assert (capacity.active, capacity.memory) == (1, 60)
        with pytest.raises(Problem) as told:
            reserve(50)
        assert told.value.status == 413  # would never fit
        reserve(40)
    assert (capacity.active, capacity.memory) == (0, 0)
    for _ in range(200):
        capacity.record(3.0)
    with capacity.slot(1), capacity.slot(1), pytest.raises(Problem) as told, capacity.slot(1):
        pass
    assert told.value.headers["Retry-After"] == "6"  # two at three seconds each


def test_a_full_server_says_when_to_come_back(gated: Gated) -> None:
    data = encoded(pixels())
    with serving(gated, Limits(requests=3)) as client, ThreadPoolExecutor(3) as pool:
        gated.gate.clear()
        inside = [pool.submit(client.post, SEGMENT, content=data) for _ in range(3)]
        deadline = time.monotonic() + 20
        while "refineseg_open_requests 3.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        told = client.post(SEGMENT, content=data)
        assert told.status_code == 503
        assert int(told.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200  # it still answers for itself
        gated.gate.set()
        assert [item.result().status_code for item in inside] == [200, 200, 200]
        assert client.post(SEGMENT, content=data).status_code == 200


def test_a_request_is_given_up_in_time(gated: Gated) -> None:
    data = encoded(pixels())
    with serving(gated, Limits(seconds=0.3)) as client:
        gated.gate.clear()
        begun = time.monotonic()
        answer = client.post(SEGMENT, content=data)
        assert answer.status_code == 504
        assert "within 0.3 s" in answer.json()["detail"]
        assert time.monotonic() - begun < 5
        queued = client.post(SEGMENT, content=data)  # behind the one that hangs: it is never seen
        assert queued.status_code == 504
        gated.gate.set()
        deadline = time.monotonic() + 20
        while client.post(SEGMENT, content=data).status_code != 200:
            assert time.monotonic() < deadline
        assert "refineseg_open_requests 0.0" in client.get("/metrics").text
    assert len(gated.batches) >= 2


def test_one_key_opens_what_is_locked() -> None:
    with serving(tiny(), key="right-key") as client:
        data = encoded(pixels())
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": "Basic cmlnaHQta2V5"},
            {"authorization": "Bearer "},
        ):
            for answer in (
                client.post(SEGMENT, content=data, headers=headers),
                client.get("/v1/model", headers=headers),
                client.get("/metrics", headers=headers),
            ):
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "right-key" not in answer.text
        right: dict[str, Any] = {"authorization": "Bearer right-key"}
        assert client.post(SEGMENT, content=data, headers=right).status_code == 200
        assert client.get("/v1/model", headers=right).status_code == 200
        for path in ("/", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
