"""Host names, pages of other sites and CORS; and a hostile page in the browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from refineseg.errors import InputError
from refineseg.inference.predictor import Segmenter
from refineseg.serving.access import Access, is_loopback
from refineseg.serving.problems import Problem
from tests.serving.browser import CHROMIUM, listening
from tests.serving.made import SEGMENT, encoded, pixels, serving
from tests.serving.test_refusals import refused

PICTURE = encoded(pixels(24, 32))
FRIEND = "https://friend.example"


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[Any]:
    with serving(segmenter) as client:
        yield client


def test_addresses_that_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "example.org")))


@pytest.mark.parametrize(
    ("access", "allowed", "refused"),
    [
        (
            Access(),
            ["localhost", "LOCALHOST:80", "localhost.", "my.localhost:1", "127.0.0.1:80", "127.9.9.9", "[::1]:1"],
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.168.1.5", "[::2]", "a b",
             "localhost:80:1", "localhost/", "evil@localhost", "0x7f.1", "[::1", "\xe9", "localhost,evil.example"],
        ),
        (Access("192.168.1.5"), ["192.168.1.5:8000", "localhost"], ["192.168.1.6", "evil.example"]),
        (Access("0.0.0.0"), ["192.168.1.5:8000", "[fe80::1]:8000"], ["evil.example", "server"]),
        (Access("server.lan"), ["server.lan:8000", "SERVER.lan"], ["other.lan", "a.server.lan"]),
        (Access(hosts=("server.lan", "::2")), ["server.lan:8000", "[::2]:80", "localhost"], ["other.lan"]),
        (Access(hosts=("*",)), ["evil.example"], ["", "a b"]),
    ],
)  # fmt: skip
def test_host_names(access: Access, allowed: list[str], refused: list[str]) -> None:
    assert [host for host in allowed if not access.allows_host(host)] == []
    assert [host for host in refused if access.allows_host(host)] == []


def test_settings_that_would_allow_nothing_are_told() -> None:
    for host in ("server.lan:80", "http://server.lan", "a b", "", "*.lan"):
        with pytest.raises(InputError, match="expected --allow-host"):
            Access(hosts=(host,))
    for origin in (
        "example.org",
        "https://example.org/",
        "https://example.org/page",
        "null",
        "ftp://a",
        "https://",
    ):
        with pytest.raises(InputError, match="expected --allow-origin"):
            Access(origins=(origin,))


def headers(origin: str | None, site: str | None) -> dict[str, str]:
    given = {"host": "localhost:8000", "origin": origin, "sec-fetch-site": site}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("origin", "site", "allowed"),
    [
        (None, None, True),  # curl
        ("http://localhost:8000", "same-origin", True),  # the page
        ("http://localhost:8000", None, True),  # the page in an older browser
        ("https://seg.example", "same-origin", True),  # the page behind a proxy that names another host
        ("http://evil.example", "cross-site", False),
        ("http://evil.example", None, False),
        ("http://localhost:9000", "same-site", False),  # another server of this machine
        ("http://localhost:9000", None, False),
        ("null", "cross-site", False),  # a frame in a sandbox, a file
        ("null", None, False),
        (None, "cross-site", False),
        ("http://localhost:8000.evil.example", None, False),
        (FRIEND, "cross-site", True),
    ],
)
def test_pages(origin: str | None, site: str | None, allowed: bool) -> None:
    access = Access(origins=(FRIEND,))
    access.check("GET", headers(origin, site))  # what it reads the browser keeps from it
    if allowed:
        access.check("POST", headers(origin, site))
    else:
        with pytest.raises(Problem) as problem:
            access.check("POST", headers(origin, site))
        assert problem.value.status == 403


def test_refusals_are_one_line_on_every_route(client: Any) -> None:
    evil = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    refused(client.post(SEGMENT, content=PICTURE, headers=evil), 403, "this server's own page", "--allow-origin")
    refused(client.post(SEGMENT, content=bytes(3_000_000), headers=evil), 403, "'http://evil.example'")
    for path in ("/", "/v1/model", "/metrics", "/healthz", "/openapi.json", "/nothing"):
        answer = client.get(path, headers={"host": "evil.example:8000"})
        refused(answer, 421, "host name of this server, got 'evil.example:8000'", "--allow-host")
    assert client.post(SEGMENT, content=PICTURE).status_code == 200


def test_cors_is_off_by_default_and_answers_allowed_origins_alone(client: Any, segmenter: Segmenter) -> None:
    asked = {"origin": FRIEND, "access-control-request-method": "POST"}
    answer = client.options(SEGMENT, headers=asked)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]
    with serving(segmenter, access=Access(origins=(FRIEND,))) as friendly:
        answer = friendly.options(SEGMENT, headers=asked | {"access-control-request-headers": "authorization"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == FRIEND
        answer = friendly.options(SEGMENT, headers=asked | {"origin": "http://evil.example"})
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
        sent = {"origin": FRIEND, "sec-fetch-site": "cross-site"}
        answer = friendly.post(SEGMENT, content=PICTURE, headers=sent)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == FRIEND
        answer = friendly.get("/v1/model", headers={"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_the_pages_headers(client: Any) -> None:
    answer = client.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"  # nothing inline
    assert "style=" not in answer.text
    assert "<style" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


HOSTILE = """<!doctype html><title>hostile</title><script>
async function attack(server) {
  const tried = {}, body = new Blob(["x"]), note = (name) => (value) => { tried[name] = value };
  const send = (path, options) => fetch(server + path, options).then((answer) => answer.text());
  await send("v1/model").then(note("read")).catch(() => note("read")("blocked"));
  await send("v1/segment", { method: "POST", body }).then(note("post")).catch(() => note("post")("blocked"));
  const json = { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } };
  await send("v1/segment", json).then(note("json")).catch(() => note("json")("blocked"));
  await send("v1/segment", { method: "POST", body, mode: "no-cors" }).catch(() => note("opaque")("blocked"));
  await new Promise((done) => {
    const script = document.createElement("script");
    script.onload = () => done(note("script")("loaded"));
    script.onerror = () => done(note("script")("blocked"));
    script.src = server + "masks.js";
    document.head.append(script);
  });
  await new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.onload = () => done(note("frame")("loaded"));
    frame.src = server;
    document.documentElement.append(frame);
  });
  return tried;
}
</script>"""


class _Evil(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(HOSTILE.encode())

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def another_site() -> Iterator[int]:
    """A server of a hostile page; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Evil)
    thread = threading.Thread(target=partial(server.serve_forever, 0.05))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_hostile_page_can_neither_read_nor_use_the_server(segmenter: Segmenter) -> None:
    """A page of another site, and one whose name was made to lead to the server (DNS rebinding)."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with listening(segmenter) as address, another_site() as port, playwright.sync_playwright() as driver:
        served = address.rstrip("/").rpartition(":")[2]
        names = "--host-resolver-rules=MAP *.example 127.0.0.1"
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", names], timeout=120_000)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        statuses: list[tuple[str, int]] = []
        page.on("response", lambda answer: statuses.append((answer.request.method, answer.status)))
        page.goto(f"http://evil.example:{port}/")
        tried = page.evaluate("server => attack(server)", address)
        assert tried["read"] == tried["post"] == tried["json"] == tried["script"] == tried["opaque"] == "blocked"
        assert {status for method, status in statuses if method == "POST"} <= {403}
        frame = page.frames[-1]
        assert frame.url.startswith("chrome-error:") or frame.content().count("refineseg") == 0
        rebound = page.goto(f"http://evil.example:{served}/")
        assert rebound.status == 421
        read = "fetch('v1/model').then((answer) => answer.status)"
        assert page.evaluate(read) == 421
        browser.close()
