"""Small files that would cost much: each is refused, or read, in little time and memory."""

from __future__ import annotations

import io
import lzma
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from refineseg.data.pictures.pillow import MAX_SCANS
from refineseg.data.pictures.tiff_samples import pages_within
from refineseg.serving import decoding
from refineseg.serving.decoding import decode_picture, measure_picture
from refineseg.serving.problems import Problem
from refineseg.serving.request_options import RequestOptions
from tests.serving.made import encoded

PIXELS = 16_000_000
SECONDS = 5.0  # of this thread's processor time
MEMORY = 400 << 20  # bytes of Python's own, where decoders keep pixels
GIF_FRAME = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"


def jpeg(width: int, height: int, progressive: bool = False) -> bytes:
    """A small JPEG whose header says that it is of any size."""
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=progressive))
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def with_scans(data: bytes, count: int) -> bytes:
    """A JPEG whose last scan is there many times more: each costs a pass over all blocks."""
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def gif(width: int, height: int, frames: int) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + GIF_FRAME * frames + b";"


def tiff(pages: int, circle: bool = False) -> bytes:
    """Grey TIFF of 10x10 pixels; all pages share one strip."""
    size = 2 + 12 * 9 + 4
    values = [
        (256, 10),
        (257, 10),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8 + size * pages),
        (277, 1),
        (278, 10),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*values, (279, 100)])
    last = 8 if circle else 0
    places = [8 + size * page if page < pages else last for page in range(1, pages + 1)]
    directories = b"".join(struct.pack("<H", 9) + entries + struct.pack("<I", place) for place in places)
    return b"II*\0" + struct.pack("<I", 8) + directories + bytes(100)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    head = (b"IHDR", struct.pack(">IIBBBBB", 10, 10, 8, 0, 0, 0, 0))
    whole = [head, *chunks, (b"IDAT", zlib.compress(bytes(110))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in whole
    )


COSTLY = {
    "a JPEG of 65,535 pixels a side": (jpeg(65_535, 65_535), 413),
    "a progressive JPEG of 4,000": (jpeg(4000, 4000, progressive=True), None),
    "a JPEG of 100,000 scans": (with_scans(jpeg(4000, 4000, progressive=True), 100_000), 422),
    "a GIF of 10,000 frames": (gif(65_535, 200, 10_000), 422),
    "a GIF of 65,535 pixels a side": (gif(65_535, 65_535, 1), 413),
    "a PNG of a million frames": (png((b"acTL", struct.pack(">II", 10**6, 0))), 422),
    "a PNG with a profile that unpacks to much": (png((b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))), 422),
    "a PNG with texts that unpack to much": (png(*[(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7)))] * 50), 422),
    "a PNG of 20,000 chunks": (png(*[(b"IDAT", b"")] * 20_000), None),
    "a TIFF of 100,000 pages": (tiff(100_000), 422),
    "a TIFF whose pages go in a circle": (tiff(3, circle=True), 422),
}


@pytest.mark.parametrize("name", list(COSTLY))
def test_costly_pictures(name: str) -> None:
    data, status = COSTLY[name]
    tracemalloc.start()
    start = time.thread_time()
    try:
        measure_picture(data, RequestOptions(), PIXELS, 21)
        picture = decode_picture(data)
        assert picture.pixels.shape[2] == 3
        found = None
    except Problem as problem:
        found = problem.status
    finally:
        seconds, (_, most) = time.thread_time() - start, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found == status
    assert seconds < SECONDS
    assert most < MEMORY


def test_progressive_pictures_of_encoders_are_read() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 70, 3), np.uint8)
    data = encoded(noise, "JPEG", progressive=True)
    assert 5 < data.count(b"\xff\xda") < MAX_SCANS
    assert decode_picture(data).pixels.shape == noise.shape


def test_tiffs_of_other_byte_order_and_of_64_bits_are_counted_too() -> None:
    tifffile = pytest.importorskip("tifffile")
    for options in ({"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}, {}):
        for pages in (1, decoding.MAX_PAGES + 1):
            stream = io.BytesIO()
            with tifffile.TiffWriter(stream, **options) as writer:
                for _ in range(pages):
                    writer.write(np.zeros((4, 4, 3), np.uint8), photometric="rgb", metadata=None)
            if pages == 1:
                assert decode_picture(stream.getvalue()).pixels.shape == (4, 4, 3)
                measure_picture(stream.getvalue(), RequestOptions(), PIXELS, 21)
            else:
                assert not pages_within(stream, decoding.MAX_PAGES)


def test_formats_that_are_not_decoded_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "reads_heic", lambda: False)
    with pytest.raises(Problem) as problem:
        measure_picture(b"\0\0\0\x18ftypheic" + bytes(100), RequestOptions(), PIXELS, 21)
    assert problem.value.status == 415
    assert "got HEIC: convert it to PNG" in problem.value.detail
    monkeypatch.setattr("PIL.features.check", lambda _name: False)
    with pytest.raises(Problem) as problem:
        measure_picture(b"\0\0\0\x18ftypavif" + bytes(100), RequestOptions(), PIXELS, 21)
    assert "got AVIF: convert it to PNG" in problem.value.detail


def zstd(data: bytes) -> bytes:
    """Packed by Python 3.14's own zstd."""
    packed: bytes = import_module("compression.zstd").compress(data)
    return packed


BOMB = bytes(60 << 20)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "lzma": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd,
}


@pytest.mark.parametrize(
    ("compression", "before", "reason"),
    [
        ("zlib", None, "unpacks to more"),
        ("lzma", None, "unpacks to more"),
        ("lzma", b"", "one compressed stream"),  # the bomb is in the second
        ("zstd", None, "unpacks to more"),
        ("zstd", b"", "one compressed stream"),
    ],
)
def test_a_tiff_whose_strip_unpacks_to_gigabytes_without_imagecodecs(
    compression: str, before: bytes | None, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tifffile = pytest.importorskip("tifffile")
    if compression == "zstd":
        pytest.importorskip("compression.zstd", reason="Python 3.14 has it")
    path, pack = tmp_path / "bomb.tif", PACK[compression]
    tifffile.imwrite(path, np.full((16, 16, 3), 7, np.uint8), photometric="rgb", compression=compression)
    monkeypatch.setattr("refineseg.data.pictures.tiff_windows.find_spec", lambda _name: None)
    assert decode_picture(path.read_bytes()).pixels.mean() == 7
    strip = (b"" if before is None else pack(before)) + pack(BOMB)
    place = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(strip)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["StripOffsets"].overwrite(place)
        file.pages[0].tags["StripByteCounts"].overwrite(len(strip))
    data = path.read_bytes()
    tracemalloc.start()
    with pytest.raises(Problem, match=reason) as told:
        decode_picture(data)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    assert told.value.status == 422
