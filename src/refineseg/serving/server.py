"""Runs the application on a socket until it is told to stop; then what is in flight is finished."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from collections.abc import Callable

from refineseg.errors import InputError, MissingExtraError
from refineseg.inference.predictor import Segmenter
from refineseg.serving.app import create_app
from refineseg.serving.limits import Limits
from refineseg.system.memory import keep_freed_memory

KEY = "REFINESEG_API_KEY"  # environment variable; an argument would be seen in the list of processes
GRACE = 10  # seconds beyond a request's own limit until a stopping server lets go of what is in flight


def serve(
    segmenter: Segmenter,
    host: str,
    port: int,
    limits: Limits,
    say: Callable[[str], None] = lambda _line: None,
    warn: Callable[[str], None] = lambda _line: None,
) -> None:
    """Serve a model until SIGTERM or SIGINT.

    Args:
        segmenter: the model.
        host: address to bind.
        port: 0 takes a free one.
        limits: of requests.
        say: told the address when the server listens.
        warn: told when everybody can reach it.

    Raises:
        InputError: the address cannot be bound, or the key is unfit.
        MissingExtraError: the packages of the extra ``serve`` are not there.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", "serve", "serving") from error
    key = api_key()
    keep_freed_memory()
    app = create_app(segmenter, limits, key)
    with bound(host, port) as listener:
        config = uvicorn.Config(
            app,
            server_header=False,
            timeout_graceful_shutdown=int(limits.seconds + GRACE),
            log_level="info",
        )
        if key is None and not is_local(host):
            warn(f"warning: everybody who reaches {host} can use this server: set {KEY} to ask for a key")
        address = listener.getsockname()
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        say(f"serving {segmenter.card.name} on http://{shown}:{address[1]} (Ctrl+C stops)")
        # uvicorn raises the signal again when it has finished; that must not end us by it.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            signal.signal(signal.SIGTERM, before)


def api_key() -> str | None:
    """The key in the environment, None if there is none; InputError for one that no header can carry."""
    key = os.environ.get(KEY, "")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError(f"expected {KEY} of printable ASCII characters without spaces")
    return key or None


def is_local(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound(host: str, port: int) -> socket.socket:
    """A listening socket; InputError if the address is taken or is none of this machine's."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"cannot listen on {host}:{port}: {reason}; choose another --port or --host") from error
