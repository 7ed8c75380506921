"""Runs the application on a socket until SIGTERM or SIGINT, then finishes open requests.

Every connection has a time limit, however slowly the client sends and reads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from refineseg.errors import InputError, extra
from refineseg.inference.predictor import Segmenter
from refineseg.serving.access import Access, is_loopback
from refineseg.serving.app import create_app
from refineseg.serving.limits import Limits
from refineseg.serving.middleware import App
from refineseg.system.memory import keep_freed_memory

if TYPE_CHECKING:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

GRACE = 10  # seconds beyond a request's limit after which a stopping server drops open requests
KEY = "REFINESEG_API_KEY"  # environment variable, since arguments are visible in the list of processes


def serve(
    segmenter: Segmenter,
    port: int,
    limits: Limits,
    access: Access,
    say: Callable[[str], None] = lambda _line: None,
    warn: Callable[[str], None] = lambda _line: None,
) -> None:
    """Serve a model until SIGTERM or SIGINT, on a free port if ``port`` is 0.

    ``say`` is called with the address when the server listens, ``warn`` with a warning if other machines can use
    it without a key.

    Raises:
        InputError: the address cannot be bound, or the key is invalid.
        MissingExtraError: the packages of the extra ``serve`` are not installed.
    """
    key = api_key()
    keep_freed_memory()
    app = create_app(segmenter, limits, key, access)
    with bound(access.bound, port) as listener:
        server = http_server(app, limits.seconds)
        if key is None and not is_loopback(access.bound):
            warn(f"warning: anyone who reaches {access.bound} can use this server: set {KEY} to require a key")
        address = listener.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        say(f"serving {segmenter.card.name} on http://{shown}:{address[1]} (Ctrl+C stops)")
        # uvicorn raises the signal again when it has finished, which must not kill this process.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            server.run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)


def api_key() -> str | None:
    """The key from the environment, or None; InputError for a key that a header cannot carry."""
    key = os.environ.get(KEY, "")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError(f"expected {KEY} of printable ASCII characters without spaces")
    return key or None


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; InputError if the address is in use or not of this machine."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).partition(" (while ")[0]
        raise InputError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from error


def http_server(app: App, seconds: float, log_level: str = "info") -> uvicorn.Server:
    """A uvicorn server for an application whose requests take at most ``seconds``."""
    with extra("uvicorn", "serve", "serving"):
        import uvicorn
    config = uvicorn.Config(
        app,
        http=_timed_protocol(seconds),
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=int(seconds + GRACE),
        log_level=log_level,
    )
    return uvicorn.Server(config)


def _timed_protocol(seconds: float) -> type[H11Protocol]:
    """uvicorn's HTTP protocol with a time limit: a client has ``seconds`` to send headers and to read an answer.

    uvicorn itself waits forever for headers that come byte by byte, and for a client that does not read.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class TimedProtocol(H11Protocol):
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

    return TimedProtocol
