"""Clients that send or read slowly: each is let go in time, and honest ones beside them are answered."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from refineseg.serving.limits import Limits
from tests.serving.browser import listening
from tests.serving.made import SEGMENT, encoded, pixels, tiny

SECONDS = 2.0
PATIENCE = 30  # seconds beyond, on a machine that others use too
BODY = f"POST {SEGMENT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n".encode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with listening(tiny(), Limits(seconds=SECONDS)) as address:
        yield int(address.rstrip("/").rpartition(":")[2])


def until_closed(connection: socket.socket, send: Callable[[int], bytes]) -> tuple[bytes, float]:
    """Sends a little every tenth of a second until the server closes; what it answered, and the seconds."""
    connection.settimeout(0.1)
    answer, start = b"", time.monotonic()
    for turn in range(10 * PATIENCE):
        try:
            connection.sendall(send(turn))
            if not (got := connection.recv(65536)):
                break
            answer += got
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return answer, time.monotonic() - start


@pytest.mark.parametrize(
    ("start", "send", "answer"),
    [
        (b"", lambda _: b"", b""),  # says nothing
        (b"GET / HTTP/1.1\r\n", lambda turn: b"X: y\r\n" if turn % 5 == 0 else b"", b""),
        (BODY, lambda _: b"", b"HTTP/1.1 408 "),
        (BODY, lambda _: b"x", b"HTTP/1.1 408 "),
        (BODY.replace(b"localhost", b"elsewhere"), lambda _: b"x", b"HTTP/1.1 421 "),
        (BODY.replace(b"segment", b"nothing"), lambda _: b"x", b"HTTP/1.1 404 "),
    ],
    ids=["silent", "headers", "half-open", "body", "refused", "elsewhere"],
)
def test_slow_senders_are_let_go(port: int, start: bytes, send: Callable[[int], bytes], answer: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(start)
        got, seconds = until_closed(connection, send)
    assert got.startswith(answer)
    assert got.count(b"HTTP/1.1") == bool(answer)
    assert seconds < PATIENCE


def test_a_client_that_does_not_read_is_let_go(port: int) -> None:
    """Thousands of requests at once, so that their answers fill every buffer on the way."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(0.5)
        with suppress(TimeoutError):
            while True:
                connection.sendall(b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        deadline = time.monotonic() + SECONDS + PATIENCE
        with suppress(ConnectionError):
            while time.monotonic() < deadline:  # sending fails once the server has closed the connection
                time.sleep(0.2)
                with suppress(TimeoutError):
                    connection.sendall(b"G")
        assert time.monotonic() < deadline


def test_honest_clients_beside_slow_ones_are_answered() -> None:
    picture = encoded(pixels())

    def ask(port: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", SEGMENT, picture)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    with listening(tiny(), Limits(seconds=60.0)) as address, ExitStack() as stack:
        port = int(address.rstrip("/").rpartition(":")[2])
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)]
        for connection in slow:
            connection.sendall(BODY)
        with ThreadPoolExecutor(4) as pool:
            honest = [pool.submit(ask, port) for _ in range(20)]
            while not all(item.done() for item in honest):
                for connection in slow:
                    connection.sendall(b"x")
                time.sleep(0.05)
            assert [item.result() for item in honest] == [200] * 20
        for connection in slow:  # still there: nobody was answered because they had gone
            connection.settimeout(0.01)
            with pytest.raises(TimeoutError):
                connection.recv(1)
