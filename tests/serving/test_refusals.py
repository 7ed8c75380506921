"""Bad requests: each is told in one sentence what was expected; nothing fails, leaks or is written."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from refineseg.inference.predictor import Segmenter
from refineseg.serving.limits import Limits
from tests.serving.made import SEGMENT, encoded, pixels, png_of, serving

LIMITS = Limits(bytes=200_000, pixels=20_000, memory=64 << 20)
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
WHOLE = {format: encoded(pixels(24, 32), format) for format in FORMATS}


@pytest.fixture(scope="module")
def client(segmenter: Segmenter) -> Iterator[Any]:
    with serving(segmenter, LIMITS) as client:
        yield client


def refused(answer: Any, status: int, *words: str) -> None:
    """A problem document of one clear sentence, without a path or a trace."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail"}
    assert body["status"] == status
    for word in words:
        assert word in body["detail"], body["detail"]
    for leak in ("Traceback", "at 0x", str(Path.cwd()), "site-packages", "BytesIO"):
        assert leak not in answer.text


def frames(format: str) -> bytes:
    more = [Image.fromarray(pixels(20, 20, seed)) for seed in (1, 2)]
    return encoded(Image.fromarray(pixels(20, 20)), format, save_all=True, append_images=more)


BAD = {
    "nothing": (b"", 400, "0 bytes"),
    "text": (b"hello, this is no picture", 415, "PNG, JPEG"),
    "html": (b"<!doctype html><script>alert(1)</script>", 415, "PNG, JPEG"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "PNG, JPEG"),
    "zip": (b"PK\x03\x04" + bytes(100), 415, "PNG, JPEG"),
    "pickle": (b"\x80\x04\x95" + bytes(100), 415, "PNG, JPEG"),
    "sound": (b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(30), 415, "PNG, JPEG"),
    "signature only": (b"\x89PNG\r\n\x1a\n", 422, "whole PNG"),
    "huge header": (png_of(60_000, 60_000), 413, "smaller picture"),
    "wide header": (png_of(2**31 - 1, 2**31 - 1, b""), 413, "smaller picture"),
    "no pixels": (png_of(0, 5, b""), 422, "whole PNG"),
    "bomb": (
        png_of(12_000, 12_000, zlib.compress(bytes(12_001 * 12_000))),
        413,
        "million pixels, got 12000x12000",
    ),
    "large": (encoded(np.zeros((142, 142, 3), np.uint8)), 413, "at most 0.02 million pixels, got 142x142"),
    "animated gif": (frames("GIF"), 422, "single picture, got a GIF of several frames"),
    "animated png": (frames("PNG"), 422, "single picture, got a PNG of several frames"),
    "animated webp": (frames("WEBP"), 422, "single picture, got a WebP of several frames"),
    "pages": (frames("TIFF"), 422, "single picture, got a TIFF of several frames"),
    "bytes": (encoded(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)), 413, "0.191 MiB"),
}


@pytest.mark.parametrize("name", list(BAD))
@pytest.mark.parametrize("form", [False, True])
def test_bad_bodies(client: Any, name: str, form: bool) -> None:
    data, status, words = BAD[name]
    sent = {"files": {"image": ("x.png", data)}} if form else {"content": data}
    refused(client.post(SEGMENT, **sent), status, words)


@pytest.mark.parametrize("format", FORMATS)
def test_every_cut_is_told(client: Any, format: str) -> None:
    whole = WHOLE[format]
    for length in (5, 13, 30, len(whole) // 4, len(whole) // 2):
        answer = client.post(SEGMENT, content=whole[:length])
        assert answer.status_code in (415, 422), (length, answer.text)


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (1, 1), "red"),
        Image.new("1", (9, 7)),
        Image.new("LA", (9, 7)),
        Image.fromarray(np.full((9, 7), 40_000, np.uint16)),
        Image.fromarray(np.arange(63, dtype=np.int32).reshape(9, 7)),
        Image.new("P", (3, 200)),
    ],
    ids=lambda image: f"{image.mode}{image.size[0]}x{image.size[1]}",
)
def test_unusual_pictures_are_pictures(client: Any, picture: Image.Image) -> None:
    answer = client.post(SEGMENT, content=encoded(picture, "TIFF" if picture.mode == "I" else "PNG"))
    assert answer.status_code == 200, answer.text
    assert (answer.json()["width"], answer.json()["height"]) == picture.size


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_pictures_never_fail_the_server(client: Any, data: st.DataObject) -> None:
    """Whole files with bytes changed, cut out, doubled: a picture or a refusal, never an error of ours."""
    broken = bytearray(WHOLE[data.draw(st.sampled_from(FORMATS))])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(broken) - 1))
        change = data.draw(st.sampled_from(("set", "cut", "double", "number")))
        if change == "set":
            broken[place] = data.draw(st.integers(0, 255))
        elif change == "cut" and place:
            del broken[place : place + data.draw(st.integers(1, 40))]
        elif change == "double":
            broken[place:place] = broken[place : place + 30]
        else:
            broken[place : place + 4] = struct.pack(">I", data.draw(st.sampled_from((0, 1, 2**31 - 1, 2**32 - 1))))
    answer = client.post(SEGMENT, content=bytes(broken))
    assert answer.status_code in (200, 400, 413, 415, 422), answer.text
    if answer.status_code != 200:
        refused(answer, answer.status_code, "expected")


PARTS = (
    b"--edge\r\n",
    b"--edge--\r\n",
    b"\r\n",
    b'Content-Disposition: form-data; name="image"\r\n',
    b'Content-Disposition: form-data; name="flip"\r\n',
    b"Content-Transfer-Encoding: base64\r\n",
    b"\x89PNG",
    b"true",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300) | st.lists(st.sampled_from(PARTS), max_size=14).map(b"".join))
def test_broken_forms_never_fail_the_server(client: Any, body: bytes) -> None:
    answer = client.post(SEGMENT, content=body, headers={"content-type": "multipart/form-data; boundary=edge"})
    refused(answer, answer.status_code, "expected")
    assert answer.status_code in (400, 413, 415, 422)


OPTIONS = {
    "output=masks": "output as one or more of json, confidence",
    "output=": "output as one or more of",
    "output=mask,mask": "each once",
    "scales=0": "numbers of 0.1 to 8",
    "scales=": "numbers of 0.1 to 8",
    "scales=nan": "numbers of 0.1 to 8",
    "scales=inf,1": "numbers of 0.1 to 8",
    "scales=1,1,1,1,1,1,1,1,1": "up to 8 numbers",
    "scales=8.1": "numbers of 0.1 to 8",
    "flip=maybe": "true or false, got 'maybe'",
    "tile=0": "of 32 to 4096",
    "tile=-64": "of 32 to 4096",
    "tile=1e3": "of 32 to 4096",
    "tile=99999999999999999999": "of 32 to 4096",
    "tile=%2B64": "of 32 to 4096",
    "channels=0": "numbers from 1 on",
    "channels=3,,1": "numbers from 1 on",
    "channels=1234567": "numbers from 1 on",
    f"channels={','.join('1' * 65)}": "numbers from 1 on",
    "turn=left": "options among output, scales, flip, tile, channels, got 'turn'",
    "flip=true&flip=false": "flip once",
}


@pytest.mark.parametrize("query", list(OPTIONS))
def test_bad_options(client: Any, query: str) -> None:
    refused(client.post(f"{SEGMENT}?{query}", content=WHOLE["PNG"]), 422, OPTIONS[query])


def test_bad_forms(client: Any) -> None:
    png = WHOLE["PNG"]
    refused(client.post(SEGMENT, files={"picture": png}), 422, "field 'image', got a file in 'picture'")
    refused(client.post(SEGMENT, files=[("image", png), ("image", png)]), 422, "got several")
    refused(client.post(SEGMENT, data={"flip": "true"}, files={"other": b""}), 422, "field 'image'")
    refused(client.post(SEGMENT, files={"image": png}, data={"colour": "1"}), 422, "got 'colour'")
    refused(client.post(SEGMENT, files={"image": png}, data={"flip": "x" * 2000}), 422, "at most 1000 bytes")
    many = [(f"f{i}", (None, "x")) for i in range(30)]
    refused(client.post(SEGMENT, files=[("image", png), *many]), 422, "at most 20 fields")
    refused(client.post(SEGMENT, content=b"x", headers={"content-type": "multipart/form-data"}), 400, "boundary")
    cut = b'--e\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + png
    refused(client.post(SEGMENT, content=cut, headers={"content-type": "multipart/form-data; boundary=e"}), 400)


def test_scales_and_flip_count_as_work(client: Any) -> None:
    picture = encoded(pixels(100, 120))
    assert client.post(SEGMENT, content=picture).status_code == 200
    refused(client.post(f"{SEGMENT}?flip=true", content=picture), 413, "got 120x100", "2 times")
    refused(client.post(f"{SEGMENT}?scales=1,1.25", content=picture), 413, "2.56 times")


def test_memory_is_reckoned_before_it_is_taken(segmenter: Segmenter) -> None:
    picture = encoded(pixels(100, 120))
    with serving(segmenter, Limits(bytes=50_000, memory=1 << 20)) as client:
        assert client.post(SEGMENT, content=picture).status_code == 200
        refused(client.post(f"{SEGMENT}?output=probs", content=picture), 413, "at most 1 MiB", "fewer outputs")


def test_a_body_without_a_length_is_cut_off_at_the_limit(client: Any) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield bytes(10_000)

    refused(client.post(SEGMENT, content=endless()), 413, "0.191 MiB")
    refused(client.post(SEGMENT, content=b"x", headers={"content-length": "999999999"}), 413, "0.191 MiB")


def test_other_routes_and_methods(client: Any) -> None:
    refused(client.get("/nothing"), 404)
    refused(client.get(SEGMENT), 405)
    assert client.get(SEGMENT).headers["allow"] == "POST"
    refused(client.get("/../../etc/passwd"), 404)
    refused(client.get("/v1/model/"), 404)
    assert client.get("/docs").status_code == 404  # such pages load scripts from elsewhere


def test_a_fault_of_ours_is_told_without_its_words(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(segmenter) as client:

        def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("secret /home/someone/model")

        monkeypatch.setattr(segmenter, "predict_batch", broken)
        answer = client.post(SEGMENT, content=WHOLE["PNG"])
        refused(answer, 500, "the server failed")
        assert "secret" not in answer.text
        monkeypatch.undo()
        assert client.post(SEGMENT, content=WHOLE["PNG"]).status_code == 200  # and goes on


WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
written: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook cannot be taken away again, so it only looks while it is asked to."""
    if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        written.append(str(arguments[0]))


def test_nothing_of_a_request_is_written_to_disk(segmenter: Segmenter) -> None:
    """Beyond a megabyte too, where web frameworks begin to use temporary files."""
    global watching
    sys.addaudithook(watch)
    noise = encoded(np.random.default_rng(0).integers(0, 255, (900, 900, 3), np.uint8))
    assert len(noise) > 2 << 20
    with serving(segmenter) as client:
        watching = True
        try:
            open(os.devnull, "w").close()  # noqa: PTH123 - shows that the hook sees what is opened for writing
            assert written == [os.devnull]
            for sent in ({"files": {"image": ("a.png", noise)}}, {"content": noise}):
                answer = client.post(SEGMENT, params={"output": "mask"}, **sent)
                assert answer.status_code == 200, answer.text
        finally:
            watching = False
    assert written == [os.devnull]


def test_the_page_may_load_nothing_from_elsewhere(client: Any) -> None:
    for path in ("/", "/v1/model", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_damaged_pictures_are_recognised_by_their_name(client: Any) -> None:
    stream = io.BytesIO(WHOLE["JPEG"][: len(WHOLE["JPEG"]) // 2])
    refused(client.post(SEGMENT, content=stream.getvalue()), 422, "whole JPEG")
