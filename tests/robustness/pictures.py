"""Bad pictures and masks."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from refineseg.data.pictures.pillow import reads_heic
from tests.robustness.case import Case, damages, encoded, pair, png, unreadable, written

FORMATS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif"}


def pictures() -> Iterator[Case]:
    """Pictures that are damaged, lie about themselves, are of rare kinds, or are no files."""
    good = pair()[0]
    for format, suffix in FORMATS.items():
        for name, data in damages(encoded(good, format)).items():
            # What pixels alone hold may be wrong and still be a picture.
            harmless = name in ("a byte flipped", "last byte lost", "zeros from the middle")
            yield Case("picture", f"{format} {name}", written(f"a.{suffix}", data), harmless)
    yield Case("picture", "HEIC cut off", written("a.heic", b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(50)))
    yield from lying_pictures()
    yield from rare_pictures()
    yield from unreadable("picture", "a.png")


def lying_pictures() -> Iterator[Case]:
    """Headers that claim what is not there, and bombs."""
    bomb = zlib.compress(bytes(60_000_000), 9)
    said = {
        "of 30000x30000": png(30_000, 30_000),
        "of 2^31 a side": png(2**31 - 1, 2**31 - 1),
        "of 0x0": png(0, 0),
        "of 0 height": png(10, 0),
        "with too few rows": png(5000, 5000),
        "of depth 7": png(10, 10, depth=7),
        "of colour type 9": png(10, 10, color=9),
        "whose rows are no zlib": png(40, 30, rows=b"not packed"),
        "whose rows unpack to 60 MB": png(40, 30, rows=bomb),
        "palette without palette": png(40, 30, color=3),
    }
    for name, data in said.items():
        taken = name in ("whose rows unpack to 60 MB", "palette without palette")
        yield Case("picture", f"PNG {name}", written("a.png", data), harmless=taken)
    whole = bytearray(encoded(pair()[0]))
    whole[29] ^= 1
    yield Case("picture", "PNG with a wrong checksum", written("a.png", bytes(whole)))
    bmp = bytearray(encoded(pair()[0], "BMP"))
    for name, at, value in (
        ("of negative width", 18, -48),
        ("of negative height", 22, -36),
        ("of 2^31 height", 22, 2**31 - 1),
        ("of 77 bits", 28, 77),
        ("with pixels behind its end", 10, 10_000_000),
    ):
        wrong = bytearray(bmp)
        wrong[at : at + (2 if at == 28 else 4)] = struct.pack("<h" if at == 28 else "<i", value)
        yield Case("picture", f"BMP {name}", written("a.bmp", bytes(wrong)), harmless=at == 22)
    tiff = encoded(pair()[0], "TIFF")
    start = struct.unpack("<I", tiff[4:8])[0]
    loop = bytearray(tiff)
    count = struct.unpack("<H", tiff[start : start + 2])[0]
    loop[start + 2 + 12 * count : start + 6 + 12 * count] = struct.pack("<I", start)
    yield Case("picture", "TIFF whose next page is itself", written("a.tif", bytes(loop)), harmless=True)
    vast = bytearray(tiff)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack("<H", tiff[entry : entry + 2])[0] in (256, 257):  # ImageWidth, ImageLength
            vast[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 1_000_000)
    yield Case("picture", "TIFF of terabytes", written("a.tif", bytes(vast)))
    far = tiff[:4] + struct.pack("<I", 2**31) + tiff[8:]
    yield Case("picture", "TIFF with its directory behind its end", written("a.tif", far))


def rare_pictures() -> Iterator[Case]:
    """Real pictures that many programs stumble over; each may be taken, or refused in one line."""
    good = pair()[0]
    one = Image.new("RGB", (1, 1))
    grey16 = Image.fromarray(np.arange(48 * 36, dtype=np.uint16).reshape(36, 48))
    nan = Image.fromarray(np.full((20, 20), np.nan, np.float32))
    huge = Image.fromarray(np.full((20, 20), 3e38, np.float32))
    frames = [Image.new("P", (20, 20), shade) for shade in range(3)]
    rare = {
        "of one pixel": ("png", encoded(one)),
        "one pixel high": ("png", encoded(Image.new("RGB", (500, 1)))),
        "one pixel wide": ("png", encoded(Image.new("RGB", (1, 500)))),
        "16 bits": ("png", encoded(grey16)),
        "16-bit TIFF": ("tif", encoded(grey16, "TIFF")),
        "float TIFF of NaN": ("tif", encoded(nan, "TIFF")),
        "float TIFF of 3e38": ("tif", encoded(huge, "TIFF")),
        "grey with alpha": ("png", encoded(good.convert("LA"))),
        "palette with transparency": ("png", encoded(good.convert("P"), transparency=0)),
        "CMYK JPEG": ("jpg", encoded(good.convert("CMYK"), "JPEG")),
        "YCbCr TIFF": ("tif", encoded(good.convert("YCbCr"), "TIFF")),
        "bilevel": ("png", encoded(good.convert("1"))),
        "animated GIF": ("gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])),
        "TIFF of three pages": ("tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])),
        "PNG named JPEG": ("jpg", encoded(good)),
        "PNG named TIFF": ("tif", encoded(good)),
        "AVIF": ("avif", encoded(good, "AVIF")),
        **({"HEIC": ("heic", encoded(good, "HEIF"))} if reads_heic() else {}),
        "broken EXIF": ("jpg", encoded(good, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40))),
        "broken colour profile": ("png", encoded(good, icc_profile=b"no profile")),
    }
    for name, (suffix, data) in rare.items():
        yield Case("picture", name, written(f"a.{suffix}", data), harmless=True)
    data = encoded(good)
    for name, file in (
        ("name with a line break", "a\nb.png"),
        ("name with markup", "[bold]a[red].png"),
        ("name of 250 letters", "x" * 246 + ".png"),
        ("name that is no UTF-8", os.fsdecode(b"\xff\xfe.png")),
        ("name in other scripts", "über 街道 \u202e.png"),
    ):
        yield Case("picture", name, written(file, data), harmless=True)


def masks() -> Iterator[Case]:
    """Masks under a good picture of 48x36 with three classes."""
    picture, good = pair()
    labels = np.asarray(good)
    kinds = {
        "RGB": encoded(good.convert("RGB")),
        "JPEG in a PNG's name": encoded(good, "JPEG"),
        "of another size": encoded(good.resize((20, 20))),
        "turned": encoded(good.transpose(Image.Transpose.ROTATE_90)),
        "a value of no class": encoded(Image.fromarray(np.where(labels == 1, 77, labels).astype(np.uint8))),
        "16 bits beyond 255": encoded(Image.fromarray(labels.astype(np.uint16) * 1000)),
        "fractions": encoded(Image.fromarray(labels.astype(np.float32) / 2), "TIFF"),
        "of two pages": encoded(good, "TIFF", save_all=True, append_images=[good]),
        "CMYK": encoded(picture.convert("CMYK"), "TIFF"),
        "of 30000x30000": png(30_000, 30_000),
        "of 0x0": png(0, 0),
        "the picture itself": encoded(picture),
    }
    usable = {
        "grey with alpha": encoded(Image.merge("LA", [Image.fromarray(labels), Image.new("L", good.size, 255)])),
        "32-bit float": encoded(Image.fromarray(labels.astype(np.float32)), "TIFF"),
    }
    for name, data in usable.items():
        yield Case("mask", name, written("m.png", data), harmless=True)
    for name, data in {**kinds, **damages(encoded(good))}.items():
        yield Case("mask", name, written("m.png", data), harmless=name in ("a byte flipped", "last byte lost"))
    yield from unreadable("mask", "m.png")
