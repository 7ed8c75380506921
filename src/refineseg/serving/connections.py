"""HTTP connections with a time limit, however slowly the client sends and reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from refineseg.errors import extra
from refineseg.serving.middleware import App

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE = 10  # seconds beyond a request's limit after which a stopping server drops open requests


def http_server(app: App, seconds: float, log_level: str = "info") -> uvicorn.Server:
    """A uvicorn server for an application whose requests take at most ``seconds``."""
    with extra("uvicorn", "serve", "serving"):
        import uvicorn
    config = uvicorn.Config(
        app,
        http=_bounded_protocol(seconds),
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=int(seconds + GRACE),
        log_level=log_level,
    )
    return uvicorn.Server(config)


def _bounded_protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with a time limit: a client has ``seconds`` to send headers and to read an answer.

    uvicorn itself waits forever for headers that come byte by byte, and for a client that does not read.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class BoundedProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            self._forget()
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._watch()

        def _watch(self) -> None:
            answering = self.cycle is not None and not self.cycle.response_complete
            if answering and not self.flow.write_paused:
                self._forget()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(seconds, self.transport.abort)

        def _forget(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return BoundedProtocol
