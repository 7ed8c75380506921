"""The server as a process: addresses, keys, and an end that finishes what is in flight."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from refineseg.cli.main import main
from refineseg.errors import InputError
from refineseg.serving import server
from refineseg.serving.access import Access
from refineseg.serving.limits import Limits
from refineseg.serving.server import http_server
from tests.serving.made import SEGMENT, encoded, pixels, tiny
from tests.serving.test_batching import Gated


def test_keys_that_no_header_carries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("two words", "schlüssel", "line\n"):
        monkeypatch.setenv(server.KEY, key)
        with pytest.raises(InputError, match=f"expected {server.KEY} of printable ASCII"):
            server.api_key()
    monkeypatch.setenv(server.KEY, "")
    assert server.api_key() is None
    monkeypatch.setenv(server.KEY, "good-key")
    assert server.api_key() == "good-key"


def test_an_address_that_is_taken_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with server.bound("127.0.0.1", 0) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    told = capsys.readouterr().err
    assert re.search(r"cannot listen on 127\.0\.0\.1:\d+: .*; choose another", told.replace("\n", " "))
    assert "Traceback" not in told
    with pytest.raises(InputError, match=r"cannot listen on no\.such\.host\.invalid:8000"):
        server.bound("no.such.host.invalid", 8000)


@pytest.mark.parametrize(
    ("host", "key", "warned"),
    [("0.0.0.0", "", True), ("0.0.0.0", "a-key", False), ("127.0.0.1", "", False)],
)
def test_everybody_is_let_in_with_a_warning_only(
    monkeypatch: pytest.MonkeyPatch, host: str, key: str, warned: bool
) -> None:
    import uvicorn

    asked: list[str] = []

    def bound(host: str, _port: int) -> socket.socket:
        asked.append(host)
        return socket.create_server(("127.0.0.1", 0))

    monkeypatch.setenv(server.KEY, key)
    monkeypatch.setattr(server, "bound", bound)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    said: list[str] = []
    warnings: list[str] = []
    server.serve(tiny(), 0, Limits(), Access(host), said.append, warnings.append)
    assert asked == [host]
    assert re.fullmatch(r"serving tiny on http://127\.0\.0\.1:\d+ \(Ctrl\+C stops\)", said[0])
    assert [bool(re.search("anyone who .* set REFINESEG_API_KEY", line)) for line in warnings] == [True] * warned


def post(port: int, path: str = SEGMENT, picture: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, picture or encoded(pixels()))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_a_stop_finishes_what_is_in_flight() -> None:
    """The end as a signal brings it: no new connection, every request that was taken on is answered."""
    pytest.importorskip("uvicorn")
    from refineseg.serving.app import create_app

    gated = Gated()
    with server.bound("127.0.0.1", 0) as listener, ThreadPoolExecutor(4) as pool:
        port = listener.getsockname()[1]
        running = http_server(create_app(gated), 60, "error")
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        while not running.started:
            time.sleep(0.02)
        gated.gate.clear()
        inside = [pool.submit(post, port) for _ in range(4)]
        assert gated.entered.acquire(timeout=20)
        while "refineseg_open_requests 4.0" not in counters(port):
            time.sleep(0.02)
        running.should_exit = True  # what uvicorn's own handler of SIGTERM and SIGINT does
        deadline = time.monotonic() + 20
        while connects(port):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not any(item.done() for item in inside)
        gated.gate.set()
        assert [item.result(30) for item in inside] == [200] * 4
        thread.join(30)
        assert not thread.is_alive()


def counters(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults as Linux tells them")
def test_batches_reuse_the_memory_of_those_before() -> None:
    """A batch of eight maps 70,000 pages and more anew if freed memory goes back to the system."""
    command = [sys.executable, "-m", "refineseg", "serve", "--model", "camvid", "--device", "cpu", "--port", "0"]
    picture = encoded(pixels(360, 480))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ThreadPoolExecutor(8) as pool:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+) ", process.stdout.readline())
            assert found is not None
            counts = []
            for _ in range(4):
                assert list(pool.map(lambda _: post(int(found[1]), picture=picture), range(16))) == [200] * 16
                counts.append(int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[7]))
        finally:
            process.send_signal(signal.SIGTERM)
    assert (counts[-1] - counts[-2]) / 16 < 2000, counts


@pytest.mark.slow
def test_a_signal_in_the_middle_of_requests() -> None:
    command = [sys.executable, "-m", "refineseg", "serve", "--model", "camvid", "--device", "cpu", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, ThreadPoolExecutor(8) as pool:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+) ", process.stdout.readline())
            assert found is not None
            port = int(found[1])
            deadline = time.monotonic() + 120
            while not connects(port) or post(port) != 200:
                assert time.monotonic() < deadline
            inside = [pool.submit(post, port, f"{SEGMENT}?scales=4") for _ in range(8)]
            while "refineseg_open_requests 8.0" not in counters(port) and not all(i.done() for i in inside):
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGTERM)
        assert [item.result(120) for item in inside] == [200] * 8
    assert process.returncode == 0
