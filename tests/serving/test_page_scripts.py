"""Scripts of the page by themselves, in the browser: masks read to the bit, and when to ask again."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from refineseg.labels import UInt8
from tests.serving.made import encoded


def filtered(labels: UInt8) -> bytes:
    """Labels as a grey PNG that uses every filter in turn, packed into several chunks."""
    height, width = labels.shape
    wide = np.zeros((height + 1, width + 1), np.int64)
    wide[1:, 1:] = labels
    packed = bytearray()
    for row in range(1, height + 1):
        here, left, up, corner = wide[row, 1:], wide[row, :-1], wide[row - 1, 1:], wide[row - 1, :-1]
        guess = left + up - corner
        a, b, c = abs(guess - left), abs(guess - up), abs(guess - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
        kind = row % 5
        packed += bytes([kind, *((here - (0 * here, left, up, (left + up) // 2, paeth)[kind]) % 256)])
    data = zlib.compress(bytes(packed))

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    parts = b"".join(chunk(b"IDAT", data[at : at + 400]) for at in range(0, len(data), 400))
    return b"\x89PNG\r\n\x1a\n" + head + parts + chunk(b"IEND", b"")


def test_masks_are_read_to_the_bit(open_page: Callable[..., Any]) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (37, 53)).astype(np.uint8)
    content = filtered(labels)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(np.array(image), labels)  # the writer above is right
    page = open_page()
    got = page.evaluate(
        """async (bytes) => { const { readMask } = await import("/masks.js");
        const mask = await readMask(new Uint8Array(bytes)); return [mask.width, mask.height, ...mask.labels]; }""",
        list(content),
    )
    assert got == [53, 37, *labels.ravel().tolist()]
    deep = encoded(Image.fromarray(np.zeros((4, 4), np.uint16)))
    wrong = "async (bytes) => (await import('/masks.js')).readMask(new Uint8Array(bytes)).catch((e) => e.message)"
    assert "expected a mask of 8 bits a pixel" in page.evaluate(wrong, list(deep))


def test_the_background_stays_clear_unless_it_stands_out(open_page: Callable[..., Any]) -> None:
    """As in ``Result.overlay``; the columns are background, a class and a hidden class, three pixels each."""
    page = open_page()
    script = """async (alone) => { const { paintMask } = await import("/masks.js");
        const mask = { width: 9, height: 1, labels: Uint8Array.from([0, 0, 0, 1, 1, 1, 2, 2, 2]) };
        const colors = [[0, 0, 0], [9, 8, 7], [1, 2, 3]];
        const how = { colors, background: new Set([0]), hidden: new Set([2]), alone, thick: 1 };
        return [0, 4, 8, 2].map((x) => [...paintMask(mask, how).data.slice(4 * x, 4 * x + 4)]); }"""
    white = [255, 255, 255, 255]
    assert page.evaluate(script, None) == [[0, 0, 0, 0], [9, 8, 7, 255], [1, 2, 3, 0], white]
    assert page.evaluate(script, 0) == [[0, 0, 0, 255], [9, 8, 7, 50], [1, 2, 3, 0], white]


def test_retry_after_as_number_and_as_date(open_page: Callable[..., Any]) -> None:
    page = open_page()
    given = ["3", "0", "9999", None, "", "soon", "Wed, 21 Oct 2015 07:28:07 GMT"]
    found = page.evaluate(
        """async (given) => { const { retryAfter } = await import("/service.js");
        return given.map((value) => retryAfter(value, Date.parse("Wed, 21 Oct 2015 07:28:00 GMT"))); }""",
        given,
    )
    assert found == [3, 1, 60, 2, 2, 2, 7]
