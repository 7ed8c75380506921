"""Kinds of TIFF, PNG and others, made here: nodata, masks, alpha, colour spaces, depths, layouts, pages."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.images import read_image
from refineseg.data.pictures.color_spaces import used_bits, white_of
from refineseg.data.pictures.geotiff import parse_nodata
from refineseg.data.pictures.open_picture import open_picture, read_picture
from refineseg.data.pictures.picture import upright
from refineseg.errors import InputError
from refineseg.inference.tiles.receptive_field import probe_picture

RGB = probe_picture(70, 90)
GREY = RGB[..., :1]
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {},
    "tiles": {"tile": (32, 48), "compression": "zlib"},
    "big": {"bigtiff": True, "byteorder": ">", "tile": (32, 32)},
    "big endian": {"byteorder": ">"},
    "planes": {"planarconfig": "separate", "tile": (32, 32)},
}


def write(path: Path, pixels: NDArray[Any], nodata: str | None = None, **options: Any) -> Path:
    bigtiff, byteorder = options.pop("bigtiff", False), options.pop("byteorder", None)
    extra = [] if nodata is None else [(42113, 2, len(nodata) + 1, nodata, True)]
    data = pixels.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else pixels
    contiguous: dict[str, Any] = {"planarconfig": "contig"}
    if "planarconfig" in options or pixels.ndim < 3 or pixels.shape[2] == 1:
        contiguous = {}
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as writer:
        extra += options.pop("extratags", [])
        writer.write(data, extratags=extra, metadata=None, **contiguous, **{"photometric": "rgb", **options})
    return path


def same_by_windows(path: Path, kind: Any = None, choice: tuple[int, ...] | None = None) -> Any:
    """The whole picture, after its windows and voids were found to be parts of it."""
    whole = read_picture(path, kind, choice)
    with open_picture(path, kind, choice) as picture:
        for top, bottom, left, right in ((0, 33, 0, 49), (17, 70, 5, 90), (69, 70, 89, 90)):
            part = picture.read(top, bottom, left, right)
            np.testing.assert_array_equal(part, whole.pixels[top:bottom, left:right])
            void = picture.void(top, bottom, left, right)
            if void is not None and whole.no_data is not None:
                np.testing.assert_array_equal(void, whole.no_data[top:bottom, left:right])
    return whole


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("dtype", "nodata", "value"),
    [
        ("int16", "-32768", -32768), ("int16", "-9999", -9999), ("uint16", "0", 0), ("uint16", "65535", 65535),
        ("float32", "nan", np.nan), ("float32", "-3.40282346638529e+38", np.finfo(np.float32).min),
        ("float64", "-9999.5", -9999.5), ("uint8", "255", 255), ("int32", "-2147483648", -(2**31)),
    ],
)  # fmt: skip
def test_nodata_of_any_type_and_layout(tmp_path: Path, layout: str, dtype: str, nodata: str, value: float) -> None:
    """A pixel is void where all channels lack data; a channel that alone lacks it is NaN there."""
    pixels = (RGB // 2 + 1).astype(dtype)
    pixels[10:20, 30:50] = value
    pixels[40, 40, 1] = value
    found = same_by_windows(write(tmp_path / "a.tif", pixels, nodata, **LAYOUTS[layout]), "any")
    expected = np.zeros(pixels.shape[:2], bool)
    expected[10:20, 30:50] = True
    np.testing.assert_array_equal(found.no_data, expected)
    missing = np.isnan(found.pixels)
    assert missing.sum() == 10 * 20 * 3 + 1
    assert missing[40, 40].tolist() == [False, True, False]
    np.testing.assert_array_equal(found.pixels[~missing], pixels[~missing])
    assert found.dtype == np.dtype(dtype)


def test_nodata_that_the_type_cannot_hold_is_none() -> None:
    """As in GDAL."""
    for text, dtype in (("-9999", "uint8"), ("1.5", "int16"), ("nan", "int16"), ("rubbish", "float32")):
        assert parse_nodata(text, np.dtype(dtype)) is None
    assert parse_nodata("9223372036854775807\0", np.dtype("int64")) == 2**63 - 1


def test_nodata_of_rgb_is_void_and_keeps_its_pixels(tmp_path: Path) -> None:
    pixels = RGB.copy()
    pixels[:5] = 0
    pixels[30, 30, 0] = 0
    found = same_by_windows(write(tmp_path / "a.tif", pixels, "0", tile=(32, 32)))
    np.testing.assert_array_equal(found.pixels, pixels)
    assert found.no_data is not None
    assert found.no_data[:5].all()
    assert not found.no_data[30, 30]


@pytest.mark.parametrize("associated", [False, True])
def test_alpha_of_a_tiff_is_void_where_it_is_0(tmp_path: Path, associated: bool) -> None:
    alpha = np.full((*RGB.shape[:2], 1), 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 51
    colors = np.rint(RGB * (alpha / 255)).astype(np.uint8) if associated else RGB
    kind = ["assocalpha" if associated else "unassalpha"]
    path = write(tmp_path / "a.tif", np.dstack([colors, alpha]), extrasamples=kind, tile=(32, 32))
    found = same_by_windows(path)
    np.testing.assert_array_equal(found.no_data, alpha[..., 0] == 0)
    over_white = RGB * 0.2 + 255 * 0.8
    assert np.abs(found.pixels[10:20] - over_white[10:20]).max() <= 1
    np.testing.assert_array_equal(found.pixels[20:], RGB[20:])
    assert same_by_windows(path, "any").pixels.shape[2] == 3


def test_near_infrared_beside_alpha(tmp_path: Path) -> None:
    five = np.dstack([RGB, GREY, np.full_like(GREY, 255)])
    found = same_by_windows(write(tmp_path / "a.tif", five, extrasamples=["unspecified", "unassalpha"]))
    np.testing.assert_array_equal(found.pixels, RGB)
    assert "left out 1 channel" in found.notes[0]


def test_an_internal_mask_is_void_where_it_is_0(tmp_path: Path) -> None:
    mask = np.ones(RGB.shape[:2], bool)
    mask[:, 60:] = False
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RGB, photometric="rgb", tile=(32, 32), metadata=None)
        writer.write(mask, subfiletype=4, metadata=None, photometric="mask")
    found = same_by_windows(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.no_data, ~mask)
    assert found.notes == ()


def test_smaller_copies_are_no_further_pages(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RGB, photometric="rgb", metadata=None)
        writer.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert same_by_windows(tmp_path / "a.tif").notes == ()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_used_depth(tmp_path: Path, bits: int, channels: int, suffix: str) -> None:
    deep = (RGB[..., :channels].astype(np.float64) / RGB.max() * ((1 << bits) - 1)).astype(np.uint16)
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(deep_png(deep))
    else:
        stored = deep if channels == 3 else deep[..., 0]
        write(path, stored, photometric="rgb" if channels == 3 else "minisblack", tile=(32, 32))
    found = same_by_windows(path)
    expected = np.rint(deep / ((1 << bits) - 1) * 255)
    assert np.abs(found.pixels - expected).max() <= 1
    assert any(f"{bits}-bit" in note for note in found.notes) is (bits < 16)
    assert len(found.notes) == (bits < 16)
    np.testing.assert_array_equal(same_by_windows(path, "any").pixels, deep)


def deep_png(deep: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits (W3C PNG, chunks IHDR, IDAT, IEND), which Pillow cannot write in colour."""
    height, width, channels = deep.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_white_by_hand() -> None:
    assert [used_bits(value) for value in (511, 512, 1023, 1024, 4095, 4096, 16383, 16384, 65535)] == [
        16, 10, 10, 12, 12, 14, 14, 16, 16
    ]  # fmt: skip
    assert white_of(np.dtype("uint8"), 8, lambda: 3, "a") == (255, ())
    assert white_of(np.dtype("uint16"), 12, lambda: 3, "a") == (4095, ())  # packed: the file says so
    assert white_of(np.dtype("float32"), 32, lambda: 0.5, "a")[0] == 1
    assert "nearly black" in white_of(np.dtype("uint16"), 16, lambda: 200, "a")[1][0]
    with pytest.raises(InputError, match="scale them"):
        white_of(np.dtype("float32"), 32, lambda: 1e6, "a")


@pytest.mark.parametrize("mode", ["P", "CMYK", "LAB", "L", "1", "LA", "RGBA"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_colour_spaces_as_pillow_converts_them(tmp_path: Path, mode: str, compression: str | None) -> None:
    image = Image.fromarray(RGB)
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB")) or image
    else:
        image = image.quantize(16) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.tif", compression=compression)
    with Image.open(tmp_path / "a.tif") as saved:
        expected = np.asarray(saved.convert("RGB")).astype(int)
    assert np.abs(same_by_windows(tmp_path / "a.tif").pixels - expected).max() <= 1


def test_white_is_zero(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", GREY[..., 0], photometric="miniswhite", tile=(32, 32))
    np.testing.assert_array_equal(same_by_windows(path).pixels[..., 1], 255 - GREY[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    if suffix == ".tif":
        extra = [(274, 3, 1, orientation, True)]
        path = write(tmp_path / "a.tif", RGB, extratags=extra, tile=(32, 32))
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / "a.png"
        Image.fromarray(RGB).save(path, exif=exif)
    found = read_picture(path)
    np.testing.assert_array_equal(found.pixels, upright(RGB, orientation))
    with open_picture(path) as picture:
        assert picture.size == found.size
        np.testing.assert_array_equal(picture.read(5, 30, 7, 60), found.pixels[5:30, 7:60])


@pytest.mark.parametrize("format", ["GIF", "WebP", "PNG", "TIFF"])
def test_animations_and_pages(tmp_path: Path, format: str) -> None:
    frames = [Image.fromarray(RGB[..., ::step]) for step in (1, -1)] * 2
    path = tmp_path / f"a.{format.lower()}"
    options: dict[str, Any] = {"lossless": True} if format == "WebP" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    found = read_picture(path)
    assert found.notes == (f"{'page' if format == 'TIFF' else 'frame'} 1 of 4 is read",)
    if format != "GIF":
        np.testing.assert_array_equal(found.pixels, RGB)


def test_channels_that_are_no_colours_must_be_chosen(tmp_path: Path) -> None:
    four = np.dstack([RGB, GREY]).astype(np.uint16) * 257
    path = write(tmp_path / "a.tif", four, photometric="minisblack", tile=(32, 32))
    with pytest.raises(InputError, match=r"4 channels that are not marked as colours.*--channels 3,2,1"):
        read_picture(path)
    np.testing.assert_array_equal(same_by_windows(path, None, (2, 1, 0)).pixels, RGB[..., ::-1])
    np.testing.assert_array_equal(same_by_windows(path, None, (3,)).pixels[..., 1], GREY[..., 0])
    with pytest.raises(InputError, match="3 of --channels"):
        read_picture(path, None, (0, 1))
    three = write(tmp_path / "b.tif", RGB, photometric="minisblack")
    assert "not marked as colours" in same_by_windows(three).notes[0]


def test_without_tifffile_pillow_reads_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = write(tmp_path / "a.tif", RGB, tile=(32, 32))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    np.testing.assert_array_equal(read_image(path), RGB)
    np.testing.assert_array_equal(same_by_windows(path).pixels, RGB)


def test_bytes_and_odd_suffixes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format="PNG")
    np.testing.assert_array_equal(read_picture(buffer.getvalue()).pixels, RGB)
    (tmp_path / "picture").write_bytes(write(tmp_path / "a.tif", RGB, tile=(32, 32)).read_bytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "picture").pixels, RGB)


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16), "compression": "zlib"}], ids=["rows", "tiles"])
def test_a_header_of_a_terabyte_is_refused_when_the_file_is_opened(layout: dict[str, Any], tmp_path: Path) -> None:
    """Width and height raised to a million in a file of a few kilobytes."""
    path = write(tmp_path / "a.tif", RGB, **layout)
    content = bytearray(path.read_bytes())
    start = struct.unpack("<I", content[4:8])[0]
    count = struct.unpack("<H", content[start : start + 2])[0]
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack("<H", content[entry : entry + 2])[0] in (256, 257):
            content[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 1_000_000)
    path.write_bytes(content)
    with pytest.raises(InputError, match="by its header"), open_picture(path, channels="any"):
        pass


def test_nodata_of_fewer_digits_than_the_samples(tmp_path: Path) -> None:
    """Old exports write -3.40282e+38 for the least float32, -3.4028234663852886e+38."""
    values = np.full((4, 6, 3), 100, np.float32)
    values[:2] = np.finfo(np.float32).min
    path = write(tmp_path / "a.tif", values, "-3.40282e+38")
    void = read_picture(path).void(0, 4, 0, 6)
    assert void is not None
    assert void.sum() == 12


def test_other_formats_called_tif(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.tif", format="PNG")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_the_jpeg_of_old_scanners_in_a_tiff_is_read(tmp_path: Path) -> None:
    """Compression 6 of TIFF 6.0, which tifffile does not decode; the strip is the JPEG's scan."""
    pixels = np.full((48, 64, 3), (200, 60, 60), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=2)
    jpeg = stream.getvalue()
    marker = jpeg.index(b"\xff\xda") + 2
    scan = marker + int.from_bytes(jpeg[marker : marker + 2], "big")
    bits = 8 + len(jpeg) + 2 + 12 * 13 + 4
    tags = [
        *[
            (256, 4, 1, 64),
            (257, 4, 1, 48),
            (258, 3, 3, bits),
            (259, 3, 1, 6),
            (262, 3, 1, 6),
            (273, 4, 1, 8 + scan),
        ],
        *[(277, 3, 1, 3), (278, 4, 1, 48), (279, 4, 1, len(jpeg) - scan), (512, 3, 1, 1), (513, 4, 1, 8)],
        *[(514, 4, 1, len(jpeg)), (530, 3, 2, 2 | 2 << 16)],
    ]
    start = b"II*\0" + struct.pack("<I", 8 + len(jpeg)) + jpeg + struct.pack("<H", len(tags))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    (tmp_path / "scan.tif").write_bytes(start + entries + struct.pack("<IHHH", 0, 8, 8, 8))
    assert np.abs(read_image(tmp_path / "scan.tif").astype(int) - pixels).max() <= 2
    assert read_picture(tmp_path / "scan.tif").size == (48, 64)
