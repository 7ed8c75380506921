"""The steps of a request, within the limits: read, measure, decode, queue, predict, encode."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import TypeVar

from refineseg.data.pictures.picture import InMemory
from refineseg.errors import RefinesegError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.serving.answers import Answer, answer
from refineseg.serving.batching import Batcher, QueuedPicture
from refineseg.serving.decoding import decode_picture, measure_picture
from refineseg.serving.limits import Capacity, Limits, Reserve
from refineseg.serving.metrics import STAGES, Metrics
from refineseg.serving.problems import Problem
from refineseg.serving.request_options import RequestOptions, read_options
from refineseg.serving.uploads import Upload, check_length, read_upload
from refineseg.system.memory import hand_back_memory, is_out_of_memory

T = TypeVar("T")
CODEC_THREADS = 2  # threads that decode and encode; few, so that few pictures are in memory
log = logging.getLogger("uvicorn.error")  # the server's own log


@dataclass(frozen=True)
class Request:
    """A request, independent of the web framework."""

    query: Iterable[tuple[str, str]]  # query parameters
    content_type: str  # the header, or empty
    coding: str  # the header Content-Encoding, or empty
    length: int | None  # bytes of the body by the header Content-Length, or None
    chunks: AsyncIterator[bytes]  # the body
    disconnected: Callable[[], Awaitable[None]]  # returns when the client has left


class Service:
    """A model with its queue and limits."""

    def __init__(self, segmenter: Segmenter, limits: Limits) -> None:
        self.segmenter = segmenter
        self.limits = limits
        self.capacity = Capacity(limits)
        self.batcher = Batcher(segmenter, limits, self._record_batch, lambda: self.capacity.active)
        self.metrics = Metrics(segmenter.card.name, lambda: self.batcher.waiting, lambda: self.capacity.active)
        self._codecs = ThreadPoolExecutor(CODEC_THREADS, thread_name_prefix="codec")
        begun = Barrier(CODEC_THREADS + 1)  # start all threads now: later memory may be short
        for _ in range(CODEC_THREADS):
            self._codecs.submit(begun.wait)
        begun.wait()

    def start(self) -> None:
        """Warm up; requests can be answered once this returns."""
        self.batcher.start()

    def stop(self) -> None:
        """Finish accepted requests, then stop."""
        self.batcher.stop()
        self._codecs.shutdown()

    async def segment(self, request: Request) -> tuple[Answer, dict[str, float]]:
        """Answer a request; returns the answer and the seconds of each stage.

        Raises:
            Problem: bad input, no free slot, timeout, out of memory.
        """
        query = list(request.query)
        read_options(query)  # refuse before the body is read
        if request.length is not None:
            check_length(request.length, self.limits.bytes)
        seconds = f"{self.limits.seconds:g} s"
        late = Problem(408, f"expected the whole request within {seconds}, part of it is missing")
        try:
            with self.capacity.slot(self.limits.bytes if request.length is None else request.length) as reserve:
                async with asyncio.timeout(self.limits.seconds):
                    given = request.chunks, request.content_type, request.coding
                    upload = await read_upload(*given, self.limits.bytes)
                    late = Problem(
                        504, f"not done within {seconds}: send a smaller picture or fewer scales, or try again"
                    )
                    work = self._answer(upload, query, reserve)
                    return await self._unless_disconnected(work, request.disconnected)
        except TimeoutError:
            raise late from None
        except Exception as error:
            if isinstance(error, Problem) or not is_out_of_memory(error):
                raise
            # The frames hold the picture, its future the error, and the error the frames: this cycle would keep
            # the memory until the garbage collector runs, and the next picture might be refused.
            traceback.clear_frames(error.__traceback__)
        hand_back_memory()
        log.error("out of memory: answered 503; lower --max-megapixels, --batch or --requests")
        raise Problem(
            503,
            "the picture does not fit in the server's free memory: send a smaller picture, or try again later",
            {"Retry-After": "5"},
        )

    async def _answer(
        self, upload: Upload, query: list[tuple[str, str]], reserve: Reserve
    ) -> tuple[Answer, dict[str, float]]:
        options = read_options([*query, *upload.fields])
        times = [time.monotonic()]
        picture = await self._in_codec_thread(lambda: self._decode(upload.data, options, reserve))
        times.append(time.monotonic())
        queued = QueuedPicture(picture.pixels, options)
        self.batcher.submit(queued)
        try:
            found: Result = await asyncio.wrap_future(queued.future)
        except RefinesegError as error:
            raise Problem(422, str(error)) from None
        finally:
            queued.abandoned = True  # no effect if it is done
        times += [queued.started, time.monotonic()]
        result = found.of(picture)
        content = await self._in_codec_thread(lambda: answer(result, options.outputs, self.segmenter.card.name))
        times.append(time.monotonic())
        stages = {name: end - start for name, start, end in zip(STAGES, times, times[1:], strict=False)}
        self.metrics.record_picture(result.labels.size, stages)
        return content, stages

    def _decode(self, data: bytes, options: RequestOptions, reserve: Reserve) -> InMemory:
        card = self.segmenter.card
        reserve(measure_picture(data, options, self.limits.pixels, card.labels.num_classes))
        return decode_picture(data, card.channels, options.predict.choice)

    async def _in_codec_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._codecs, work)

    async def _unless_disconnected(self, work: Awaitable[T], disconnected: Callable[[], Awaitable[None]]) -> T:
        """The result of the work, which is cancelled if the client leaves first."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(disconnected())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Problem(400, "expected the client to wait for its answer, it disconnected")
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()

    def _record_batch(self, pictures: int, seconds: float) -> None:
        self.metrics.record_batch(pictures, seconds)
        self.capacity.record(seconds / pictures)
