"""Runs the application on a socket until SIGTERM or SIGINT, then finishes open requests."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.serving.access import Access, is_loopback
from refineseg.serving.app import create_app
from refineseg.serving.connections import http_server
from refineseg.serving.limits import Limits
from refineseg.system.memory import keep_freed_memory

KEY = "REFINESEG_API_KEY"  # environment variable, since arguments are visible in the list of processes


def serve(
    segmenter: Segmenter,
    port: int,
    limits: Limits,
    access: Access,
    say: Callable[[str], None] = lambda _line: None,
    warn: Callable[[str], None] = lambda _line: None,
) -> None:
    """Serve a model until SIGTERM or SIGINT.

    Args:
        segmenter: the model.
        port: port to listen on; 0 takes a free one.
        limits: limits of requests.
        access: address to listen on, and who may use the server.
        say: called with the address when the server listens.
        warn: called with a warning if other machines can use the server without a key.

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
        reason = error.strerror or type(error).__name__
        raise InputError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from error
