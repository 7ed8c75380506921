"""One request from its bytes to its answer: read, measure, decode, wait, predict, encode, within bounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from refineseg.data.pictures.picture import InMemory
from refineseg.errors import RefinesegError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.serving.answers import Answer, answer
from refineseg.serving.batching import Batcher, Job
from refineseg.serving.limits import Limits, Room, Seat
from refineseg.serving.metrics import Metrics
from refineseg.serving.options import Wanted, read_options
from refineseg.serving.pictures import decode, measure
from refineseg.serving.problems import Refused
from refineseg.serving.uploads import Upload, check_length, read_upload

T = TypeVar("T")
CODERS = 2  # threads that decode and encode; few, so that memory stays in few hands


@dataclass(frozen=True)
class Request:
    """What the web framework knows of a request.

    Attributes:
        query: options in the address.
        content_type: as sent, or empty.
        coding: the header Content-Encoding, or empty.
        length: of the body as announced, or None.
        chunks: the body.
        gone: returns when the client has left.
    """

    query: Iterable[tuple[str, str]]
    content_type: str
    coding: str
    length: int | None
    chunks: AsyncIterator[bytes]
    gone: Callable[[], Awaitable[None]]


class Service:
    """A model, its queue and its bounds."""

    def __init__(self, segmenter: Segmenter, limits: Limits) -> None:
        self.segmenter = segmenter
        self.limits = limits
        self.room = Room(limits)
        self.batcher = Batcher(segmenter, limits, self._ran, lambda: self.room.inside)
        self.metrics = Metrics(segmenter.card.name, lambda: self.batcher.waiting, lambda: self.room.inside)
        self._coders = ThreadPoolExecutor(CODERS, thread_name_prefix="coder")

    def start(self) -> None:
        """Take work, from when this returns."""
        self.batcher.start()

    def stop(self) -> None:
        """Finish what is taken on."""
        self.batcher.stop()
        self._coders.shutdown()

    async def segment(self, request: Request) -> tuple[Answer, dict[str, float]]:
        """Answer a request; also the seconds of each stage.

        Raises:
            Refused: bad input, no room, too slow.
        """
        query = list(request.query)
        read_options(query)  # refuses before the body is read
        if request.length is not None:
            check_length(request.length, self.limits.bytes)
        until = asyncio.get_running_loop().time() + self.limits.seconds
        with self.room.seat(self.limits.bytes if request.length is None else request.length) as seat:
            upload = await self._read(request, until)
            try:
                async with asyncio.timeout_at(until):
                    return await self._unless_gone(self._answer(upload, query, seat), request.gone)
            except TimeoutError:
                raise Refused(
                    504,
                    f"expected to be done within {self.limits.seconds:g} s, it takes longer: "
                    "send a smaller picture or fewer scales, or try again when fewer wait",
                ) from None

    async def _read(self, request: Request, until: float) -> Upload:
        try:
            async with asyncio.timeout_at(until):
                return await read_upload(request.chunks, request.content_type, request.coding, self.limits.bytes)
        except TimeoutError:
            raise Refused(
                408, f"expected the whole request within {self.limits.seconds:g} s, part of it is missing"
            ) from None

    async def _answer(
        self, upload: Upload, query: list[tuple[str, str]], seat: Seat
    ) -> tuple[Answer, dict[str, float]]:
        wanted = read_options([*query, *upload.fields])
        clock = [time.monotonic()]
        picture = await self._coding(lambda: self._decode(upload.data, wanted, seat))
        clock.append(time.monotonic())
        job = Job(picture.pixels, wanted)
        self.batcher.submit(job)
        try:
            found: Result = await asyncio.wrap_future(job.future)
        except RefinesegError as error:
            raise Refused(422, str(error)) from None
        finally:
            job.abandoned = True  # of no consequence when it is done
        clock += [job.started, time.monotonic()]
        result = found.of(picture)
        whole = await self._coding(lambda: answer(result, wanted.outputs, self.segmenter.card.name))
        clock.append(time.monotonic())
        names = ("decode", "queue", "predict", "encode")
        stages = {name: end - begin for name, begin, end in zip(names, clock, clock[1:], strict=False)}
        self.metrics.segmented(result.labels.size, stages)
        return whole, stages

    def _decode(self, data: bytes, wanted: Wanted, seat: Seat) -> InMemory:
        card = self.segmenter.card
        seat.take(measure(data, wanted, self.limits.pixels, card.labels.num_classes))
        return decode(data, card.channels, wanted.predict.choice)

    async def _coding(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._coders, work)

    async def _unless_gone(self, work: Awaitable[T], gone: Callable[[], Awaitable[None]]) -> T:
        """The work's result; if the client leaves first the work is dropped, since nobody would read it."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Refused(400, "expected the client to wait for its answer, it left")
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()

    def _ran(self, pictures: int, seconds: float) -> None:
        self.metrics.batch(pictures, seconds)
        self.room.served(seconds / pictures)
