"""Whatever a client puts into headers, forms, codings, chunks and JSON gets a 4xx in one line."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refineseg.inference.predictor import Segmenter
from refineseg.serving.limits import Limits
from tests.serving.browser import listening
from tests.serving.made import SEGMENT, encoded, pixels, serving
from tests.serving.test_refusals import refused

LIMITS = Limits(bytes=200_000, pixels=20_000, memory=64 << 20)
PICTURE = encoded(pixels(24, 32))
TEXT = base64.b64encode(PICTURE).decode()
FORM = "multipart/form-data; boundary="


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[Any]:
    with serving(segmenter, LIMITS) as client:
        yield client


@pytest.fixture(scope="module")
def address(segmenter: Segmenter) -> Iterator[str]:
    with listening(segmenter, LIMITS) as address:
        yield address


def part(name: str, content: bytes = b"x", headers: str = "", file: bool = False) -> bytes:
    disposition = f'form-data; name="{name}"' + ('; filename="a"' if file else "")
    head = f"--e\r\nContent-Disposition: {disposition}\r\n{headers}\r\n"
    return head.encode() + content + b"\r\n"


BOUNDARIES = [
    "",
    '""',
    "x" * 257,
    "x" * 30_000,
    '"' + "x" * 60_000,
    ";" * 20_000,
    "=?utf-8?q?e?=",
    "\xff\xfe",
    "*0=e",
]


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda text: f"{text[:8]!a}x{len(text)}")
def test_boundaries(client: Any, boundary: str) -> None:
    headers = {b"content-type": (FORM + boundary).encode("latin-1")}
    refused(client.post(SEGMENT, content=part("image", PICTURE), headers=headers), 400, "expected a")


FORMS = {
    "thousands of fields": (b"".join(part(f"f{i}") for i in range(3000)), 422, "at most 20 fields"),
    "thousands of pictures": (part("image", b"") * 3000, 422, "got several"),
    "thousands of files": (part("x", b"", file=True) * 3000, 422, "field 'image'"),
    "thousands of headers": (part("image", headers="X: y\r\n" * 3000), 400, "cannot be read"),
    "a long header": (part("image", headers="X: " + "y" * 100_000 + "\r\n"), 400, "cannot be read"),
    "a long name": (part("n" * 3000), 422, "in form"),
    "bad base64": (part("image", b"A", "Content-Transfer-Encoding: base64\r\n"), 400, "cannot be read"),
    "unknown coding": (part("image", PICTURE, "Content-Transfer-Encoding: gzip\r\n"), 400, "cannot be read"),
    "no name": (b"--e\r\nContent-Disposition: form-data\r\n\r\nx\r\n", 400, "cannot be read"),
    "no headers": (b"--e\r\n\r\nx\r\n", 400, "cannot be read"),
    "a bare header": (b"--e\r\nnothing\r\n\r\nx\r\n", 400, "cannot be read"),
    "nothing but line ends": (b"\r\n" * 50_000, 422, "field 'image'"),
}


@pytest.mark.parametrize("name", list(FORMS))
def test_forms(client: Any, name: str) -> None:
    body, status, words = FORMS[name]
    answer = client.post(SEGMENT, content=body + b"--e--\r\n", headers={"content-type": FORM + "e"})
    refused(answer, status, words.replace("in form", "field"))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.binary(max_size=60), boundary=st.binary(max_size=40), coding=st.binary(max_size=12), body=st.binary()
)
def test_any_header_gets_a_refusal(client: Any, kind: bytes, boundary: bytes, coding: bytes, body: bytes) -> None:
    for start in (b"multipart/form-data;" + kind + b"boundary=" + boundary, b"application/json;" + kind, kind):
        sent = {b"content-type": start, b"content-encoding": coding}
        headers = {key: re.sub(rb"[\0\r\n]", b"", value) for key, value in sent.items()}
        refused(answer := client.post(SEGMENT, content=body, headers=headers), answer.status_code, "expected")
        assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("kind", ["image/png", "application/json", FORM + "e"])
def test_compressed_bodies_are_not_unpacked(client: Any, kind: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    for coding in ("gzip", "deflate, gzip", "br", "x" * 5000):
        sent = {"content-type": kind, "content-encoding": coding}
        refused(client.post(SEGMENT, content=bomb, headers=sent), 415, "without Content-Encoding", "uncompressed")
    sent = {"content-type": "image/png", "content-encoding": "Identity"}
    assert client.post(SEGMENT, content=PICTURE, headers=sent).status_code == 200


def test_a_picture_in_json_is_the_picture(client: Any) -> None:
    expected = client.post(f"{SEGMENT}?output=mask,rle&flip=true&scales=0.5,0.75", content=PICTURE).json()
    options = {"output": ["mask", "rle"], "flip": True, "scales": [0.5, 0.75]}
    wrapped = "\n".join(TEXT[i : i + 76] for i in range(0, len(TEXT), 76))
    for text in (TEXT, wrapped, f"data:image/png;base64,{TEXT}"):
        answer = client.post(SEGMENT, json={"image": text, **options})
        assert answer.status_code == 200, answer.text
        assert answer.json() == expected
    as_text = {"image": TEXT, "output": "mask,rle", "flip": "true", "scales": "0.5,0.75"}
    assert client.post(SEGMENT, json=as_text).json() == expected


BAD_JSON = {
    "nothing": ("", 400, "cannot be read as JSON"),
    "deep": ('{"image":' * 300 + "1" + "}" * 300, 422, "one picture as base64 text"),
    "deep and cut off": ("[" * 999, 400, "cannot be read as JSON"),
    "deeper": ("[" * 100_000, 400, "larger structure"),
    "many": ('{"image": [' + "{}," * 40_000 + "{}]}", 400, "larger structure"),
    "a long number": ('{"image": "AAAA", "tile": ' + "9" * 50_000 + "}", 400, "cannot be read as JSON"),
    "a list": ("[1]", 422, "expected a JSON object"),
    "a number": ("NaN", 422, "expected a JSON object"),
    "no picture": ('{"flip": true}', 422, "one picture as base64 text"),
    "two pictures": ('{"image": "", "image": ""}', 422, "one picture as base64 text"),
    "a picture of numbers": ('{"image": [137, 80, 78]}', 422, "one picture as base64 text"),
    "no base64": ('{"image": "/etc/passwd?"}', 422, "not base64"),
    "half of a letter": ('{"image": "\\ud800"}', 422, "not base64"),
    "an empty picture": ('{"image": ""}', 400, "0 bytes"),
    "another file": ('{"image": "aGVsbG8="}', 415, "PNG, JPEG"),
    "an object as option": (f'{{"image": "{TEXT}", "flip": {{"a": 1}}}}', 422, "text, a number"),
    "null as option": (f'{{"image": "{TEXT}", "flip": null}}', 422, "text, a number"),
    "an option twice": (f'{{"image": "{TEXT}", "flip": 1, "flip": 0}}', 422, "got it twice"),
    "an unknown option": (f'{{"image": "{TEXT}", "\\ud800": 1}}', 422, "options among"),
    "infinite": (f'{{"image": "{TEXT}", "scales": [1e999]}}', 422, "numbers of 0.1 to 8"),
    "a long option": (f'{{"image": "{TEXT}", "output": "{"x" * 2000}"}}', 422, "at most 1000 bytes"),
}


@pytest.mark.parametrize("name", list(BAD_JSON))
def test_bad_json(client: Any, name: str) -> None:
    body, status, words = BAD_JSON[name]
    answer = client.post(
        SEGMENT, content=body.encode(), headers={"content-type": "application/json; charset=utf-8"}
    )
    refused(answer, status, words)


def test_json_that_is_not_utf8(client: Any) -> None:
    for body in (json.dumps({"image": TEXT}).encode("utf-16"), b'{"image": "\xff"}'):
        answer = client.post(SEGMENT, content=body, headers={"content-type": "application/json"})
        refused(answer, 400, "cannot be read as JSON")


def exchange(address: str, head: str, body: bytes = b"", cut: bool = False) -> bytes:
    """All that a server answers to a request of its own; ``cut`` ends the client's side."""
    start = f"POST {SEGMENT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n\r\n"
    return send(address, start.encode("latin-1") + body, cut)


def send(address: str, data: bytes, cut: bool = False) -> bytes:
    """All that a server answers to raw bytes on a connection of their own until it closes it."""
    host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
    answer = b""
    with socket.create_connection((host, int(port)), 20) as connection, suppress(ConnectionError):
        connection.sendall(data)
        if cut:
            connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


WIRE = {
    "a length of words": ("Content-Length: many", b""),
    "a negative length": ("Content-Length: -1", b""),
    "an endless length": ("Content-Length: " + "9" * 5000, b""),
    "a long length": ("Content-Length: " + "9" * 19, b"x"),
    "two lengths": ("Content-Length: 3\r\nContent-Length: 4", b"abcd"),
    "a body cut off": ("Content-Length: 500", b"abc"),
    "an unknown transfer coding": ("Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
    "chunks of no number": ("Transfer-Encoding: chunked", b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk beyond all": ("Transfer-Encoding: chunked", b"f" * 30 + b"\r\nabc"),
    "a chunk of another length": ("Transfer-Encoding: chunked", b"2\r\nabcd\r\n0\r\n\r\n"),
    "chunks cut off": ("Transfer-Encoding: chunked", b"5\r\nab"),
    "a chunk that fails after a refusal": (
        "Content-Encoding: br\r\nTransfer-Encoding: chunked",
        b"2\r\nab\r\nzz\r\n",
    ),
    "thousands of headers": ("X: y\r\n" * 30_000 + "X: y", b""),
    "a long header": ("X: " + "y" * 200_000, b""),
    "a folded header": ("X: y\r\n z\r\nContent-Length: 0", b""),
    "a bare header": ("nothing", b""),
    "a socket": ("Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0", b""),
}


@pytest.mark.parametrize("name", list(WIRE))
def test_bad_http(address: str, name: str) -> None:
    cut = "cut off" in name
    answer = exchange(address, *WIRE[name], cut=cut)
    if not cut and "long" not in name and "thousands" not in name:  # of those the connection may be reset
        assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]
    assert b"HTTP/1.1 200" in exchange(address, f"Content-Length: {len(PICTURE)}", PICTURE)
    with urllib.request.urlopen(f"{address}metrics") as counters:
        assert b'status="5' not in counters.read()


def request(target: bytes, head: bytes = b"Connection: close\r\n", method: bytes = b"GET") -> bytes:
    return method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = request(SEGMENT.encode(), CHUNKED, b"POST")  # and no chunk yet
LENGTH = b"Content-Length: 70\r\n"
RAW = {
    "TLS": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500), [400]),
    "zeros": (bytes(100_000), [400]),
    "HTTP/0.9": (b"GET /\r\n\r\n", [400]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [421]),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", [400]),
    "two hosts": (request(b"/", b"Host: localhost\r\n"), [400]),
    "another server": (request(b"http://elsewhere/"), [404]),
    "a tunnel": (request(b"localhost:22", method=b"CONNECT"), [404]),
    "an echo": (request(b"/", method=b"TRACE"), [405]),
    "a path that leads out": (request(b"/../../../etc/passwd"), [404]),
    "an escaped path that leads out": (request(b"/%2e%2e/..%2f..%2fetc%2fpasswd"), [404]),
    "a path of two slashes": (request(b"//etc/passwd"), [404]),
    "a path with a zero": (request(b"/%00"), [404]),
    "a path that is no UTF-8": (request(b"/%ff%fe"), [404]),
    "a path of raw bytes": (request(b"/\xff\xfe"), [400]),
    "a path of 200 KB": (request(b"/" + b"x" * 200_000), [400]),
    "thousands of ranges": (
        request(b"/", b"Connection: close\r\nRange: bytes=" + b"0-," * 5000 + b"0-\r\n"),
        [200],
    ),
    "thousands of chunks": (
        CHUNKS + b"1\r\na\r\n" * 20_000 + b"zz\r\n",
        [400],
    ),
    "a chunk with a long extension": (
        CHUNKS + b"1;" + b"x" * 1_000_000,
        [400],
    ),
    "thousands of trailers": (
        CHUNKS + b"0\r\n" + b"X: y\r\n" * 30_000,
        [400],
    ),
    "requests behind each other": (request(b"/healthz", b"") * 500 + request(b"/healthz"), [200] * 501),
    "a request in the body of another": (
        request(SEGMENT.encode(), b"Content-Length: 70\r\n" + CHUNKED, b"POST")
        + b"0\r\n\r\n"
        + request(b"/inner"),
        [400],
    ),
}


@pytest.mark.parametrize("name", list(RAW))
def test_bad_requests(address: str, name: str) -> None:
    data, expected = RAW[name]
    answer = send(address, data)
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)]
    assert statuses in ([expected] if len(data) < 100_000 else [expected, []])  # a long one may be cut off
    with urllib.request.urlopen(f"{address}healthz") as healthy:
        assert healthy.status == 200
