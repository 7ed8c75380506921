"""Middleware for every route: checks access, records the time, adds security headers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from refineseg.serving.access import Access
from refineseg.serving.problems import Problem

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse = Callable[[Scope, Receive, Problem], Awaitable[App]]  # reads the rest of a body; gives the answer
AnswerRecorder = Callable[[str, int, float], None]  # route, status, seconds

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
CLOSE = {"Connection": "close"}
DRAIN_SECONDS = 2.0
DRAIN_BYTES = 40 << 20


class Middleware:
    """Checks access, adds the headers and records every answer; paths that are not ``routes`` as ``other``."""

    def __init__(
        self, app: App, access: Access, refuse: Refuse, record: AnswerRecorder, routes: frozenset[str]
    ) -> None:
        self.app = app
        self.access = access
        self.refuse = refuse
        self.record = record
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.monotonic()
        status = 500

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in HEADERS if name not in present),
                ]
            await send(message)

        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if {"content-length", "transfer-encoding"} <= headers.keys():  # a proxy may read another request in it
                raise Problem(400, "expected Content-Length or Transfer-Encoding, got both")
            self.access.check(scope["method"], headers)
        except Problem as problem:
            problem.headers = problem.headers | CLOSE
            answer = await self.refuse(scope, receive, problem)
            await answer(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)
        finally:
            path = scope["path"]
            self.record(path if path in self.routes else "other", status, time.monotonic() - start)


async def drain(chunks: AsyncIterator[bytes]) -> bool:
    """Read a little more of a refused body: closing while the client still sends would lose the answer.

    Returns whether the body was read to its end.
    """
    size = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in chunks:
                size += len(chunk)
                if size > DRAIN_BYTES:
                    return False
    except TimeoutError:
        return False
    except Exception:  # the stream has been read, or the client has left
        return True
    return True
