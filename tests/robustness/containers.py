"""Pictures whose container, metadata or format is a trap, more than their pixels."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from tests.robustness.case import Case, encoded, hole, pair, png, written
from tests.serving.test_hostile_pictures import COSTLY

SUFFIXES = {"JPEG": "jpg", "GIF": "gif", "PNG": "png", "TIFF": "tif"}
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 36\n%%EndComments\n(owned) (w) file closefile\n%%EOF\n"
)
PPM = {
    "P6 of 10^9 a side": b"P6 1000000000 1000000000 255\n" + bytes(100),
    "P6 of 20000 a side and no pixels": b"P6 20000 20000 255\n",
    "P3 of one endless number": b"P3 10 10 255\n" + b"1" * 1_000_000,
    "P6 with a comment of 1 MB": b"P6\n#" + b"x" * 1_000_000 + b"\n1 1 255\nabc",
    "P6 of depth 0": b"P6 4 4 0\n" + bytes(48),
}
# Of TIFF 6.0: what a tag may not be, as (tag, type, count, value).
TAGS: dict[str, tuple[int, int, int, int]] = {
    "of 65,535 bits a sample": (258, 3, 1, 65_535),
    "of 65,535 samples": (277, 3, 1, 65_535),
    "of no samples": (277, 3, 1, 0),
    "of strips without rows": (278, 4, 1, 0),
    "of 2^32 strips": (273, 4, 2**32 - 1, 8),
    "of strips behind its end": (273, 4, 1, 2**32 - 1),
    "of unknown compression": (259, 3, 1, 65_000),
    "that says it is JPEG inside": (259, 3, 1, 7),
    "of unknown colours": (262, 3, 1, 32_803),
    "of colours in separate planes": (284, 3, 1, 2),
}


def containers() -> Iterator[Case]:
    """All of them; each may be refused in one line, or taken where the pixels are there."""
    for name, (data, _status) in COSTLY.items():
        suffix = next(SUFFIXES[word] for word in name.split() if word in SUFFIXES)
        yield Case("picture", name, written(f"a.{suffix}", data), harmless="65,535" not in name)
    for suffix in ("png", "eps", "jpg"):
        yield Case("picture", f"PostScript as {suffix}", written(f"a.{suffix}", POSTSCRIPT))
    for name, data in PPM.items():
        yield Case("picture", name, written("a.ppm", data), harmless="comment" in name)
    yield from rare_formats()
    yield from metadata()
    yield from tiffs()
    yield from terabytes()


def rare_formats() -> Iterator[Case]:
    """What Pillow reads and writes besides the usual, by its true name and under a PNG's; and animations."""
    good = pair()[0]
    frames = [good, Image.new("RGB", good.size, "red"), Image.new("RGB", good.size, "blue")]
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    made = {
        "JPEG 2000": ("jp2", encoded(good, "JPEG2000")),
        "JPEG 2000 of 16 bits": ("jp2", encoded(Image.fromarray(np.full((36, 48), 4000, np.uint16)), "JPEG2000")),
        "animated PNG": ("png", encoded(good, "PNG", **moving)),
        "animated WebP": ("webp", encoded(good, "WEBP", **moving)),
        "MPO": ("jpg", encoded(good, "MPO", **moving)),
        "progressive JPEG": ("jpg", encoded(good, "JPEG", progressive=True)),
        "LAB TIFF": ("tif", encoded(Image.new("LAB", (48, 36)), "TIFF")),
        "CMYK TIFF": ("tif", encoded(good.convert("CMYK"), "TIFF")),
        **{f"{name} as PNG": ("png", encoded(good, name)) for name in ("ICO", "TGA", "PCX", "SGI", "DDS", "PPM")},
    }
    for name, (suffix, data) in made.items():
        yield Case("picture", name, written(f"a.{suffix}", data), harmless=True)
    wide = bytearray(encoded(good, "JPEG2000"))
    for box in (b"ihdr", b"\xff\x51"):  # the sizes in the file's header and in the code stream
        place = wide.index(box) + (4 if box == b"ihdr" else 6)
        wide[place : place + 8] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    yield Case("picture", "JPEG 2000 of 2^31 a side", written("a.jp2", bytes(wide)))


def metadata() -> Iterator[Case]:
    """EXIF and colour profiles."""
    good = pair()[0]
    for value in (0, 6, 9, 65_535):
        exif = Image.Exif()
        exif[0x0112] = value
        for format, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("WEBP", "webp")):
            data = encoded(good, format, exif=exif.tobytes() if format == "WEBP" else exif)
            yield Case("picture", f"{format} of orientation {value}", written(f"a.{suffix}", data), harmless=True)
    # One directory whose next is itself, and whose EXIF directory is itself.
    loop = b"Exif\0\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8)
    text = b"Exif\0\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x0112, 2, 5, 8, 0) + b"6666\0"
    exifs = {
        "EXIF that goes in a circle": loop,
        "orientation that is a text": text,
        "EXIF of 60 KB of zeros": b"Exif\0\0" + bytes(60_000),
    }
    for name, raw in exifs.items():
        yield Case("picture", name, written("a.jpg", encoded(good, "JPEG", exif=raw)), harmless=True)
    profile = struct.pack(">I", 2**32 - 1) + b"lcms" + struct.pack(">I", 0x04000000) + b"mntrCMYKLab " + bytes(200)
    for format, suffix in (("JPEG", "jpg"), ("TIFF", "tif"), ("WEBP", "webp")):
        data = encoded(good, format, icc_profile=profile)
        yield Case("picture", f"{format} with a lying profile", written(f"a.{suffix}", data), harmless=True)


def tiffs() -> Iterator[Case]:
    """TIFFs of which one tag lies, or whose texts are traps for readers of metadata."""
    good = pair()[0]
    tiff = bytearray(encoded(good, "TIFF"))
    start = struct.unpack("<I", tiff[4:8])[0]
    count = struct.unpack("<H", tiff[start : start + 2])[0]
    for name, (tag, kind, number, value) in TAGS.items():
        wrong = bytearray(tiff)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack("<H", wrong[entry : entry + 2])[0] == tag:
                wrong[entry : entry + 12] = struct.pack("<HHII", tag, kind, number, value)
        assert wrong != tiff, name
        yield Case("picture", f"TIFF {name}", written("a.tif", bytes(wrong)), harmless=tag in (262, 284))
    yield Case(
        "picture", "TIFF of 64 bits that begins at 2^63", written("a.tif", b"II+\0\x08\0\0\0" + b"\xff" * 8)
    )
    laughs = "".join(f'<!ENTITY {b} "{f"&{a};" * 9}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    texts = {
        "OME": f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">{laughs}]><OME>&i;</OME>',
        "OME that is cut": '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME"><Image',
        "ImageJ": "ImageJ=1.11a\nimages=1000000000\nchannels=1000000\nslices=1000\nhyperstack=true\n",
        "shaped": '{"shape": [1000000000, 36, 48, 3]}',
        "Aperio": "Aperio Image Library v1\n99999x99999 [0,0 99999x99999] (999x999)|AppMag = nan",
    }
    for name, said in texts.items():
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.asarray(good), description=said, metadata=None, photometric="rgb")
        yield Case("picture", f"TIFF that says it is {name}", written("a.tif", stream.getvalue()), harmless=True)
    geo: list[tuple[int, str, int, Any]] = [
        (33550, "d", 3, (float("nan"), 0.0, float("inf"))),
        (34735, "H", 8, (1, 1, 0, 65_535, 1024, 34737, 65_535, 65_535)),
        (42113, "s", 0, "9" * 1000),
    ]
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.asarray(good), extratags=[(*tag, True) for tag in geo], photometric="rgb")
    yield Case("picture", "TIFF with lies of where it is", written("a.tif", stream.getvalue()), harmless=True)


def terabytes() -> Iterator[Case]:
    """Files of which almost all is a hole."""
    good = pair()[0]
    deep = png(48, 36, depth=16, color=2)
    starts = {
        "nothing": ("png", b""),
        "a PNG": ("png", encoded(good)),
        "a PNG of 16-bit colours": ("png", deep),
        "a progressive JPEG": ("jpg", encoded(good, "JPEG", progressive=True)),
        "a TIFF": ("tif", encoded(good, "TIFF")),
        "a GIF": ("gif", encoded(good, "GIF")),
        "a WebP": ("webp", encoded(good, "WEBP")),
    }
    for name, (suffix, data) in starts.items():
        make = with_hole(f"a.{suffix}", data)
        yield Case("picture", f"a terabyte behind {name}", make, harmless=name not in ("nothing", "a WebP"))


def with_hole(name: str, start: bytes) -> Callable[[Path], Path]:
    """A maker of a file of a terabyte that takes next to no room."""

    def make(folder: Path) -> Path:
        path = written(name, start)(folder)
        hole(path)
        return path

    return make
