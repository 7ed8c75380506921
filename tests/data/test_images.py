"""Pictures in every mode that people have, read as what they show."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refineseg.data.images import as_picture, read_image, read_mask, write_mask
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from tests.shared import shared

GREY = np.array([[0, 100], [200, 255]], np.uint8)
RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: Any) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_rgb(tmp_path: Path) -> None:
    assert np.array_equal(read_image(saved(tmp_path, Image.fromarray(RGB), "a.png")), RGB)


def test_greyscale(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.fromarray(GREY), "a.png"))
    assert np.array_equal(image, np.repeat(GREY[..., None], 3, 2))


def test_grey_arrays_may_have_an_axis_of_channels() -> None:
    for grey in (GREY, GREY[..., None]):
        assert np.array_equal(read_image(grey), np.repeat(GREY[..., None], 3, 2))


def test_one_bit(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.fromarray(GREY > 150), "a.png"))
    assert image[..., 0].tolist() == [[0, 0], [255, 255]]


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(4)
    assert np.array_equal(read_image(saved(tmp_path, image, "a.png")), np.array(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette"])
def test_alpha_lies_over_white(tmp_path: Path, mode: str) -> None:
    rgba = np.dstack([RGB, np.array([[255, 0], [255, 255]], np.uint8)])
    image = Image.fromarray(rgba)
    if mode == "LA":
        image = Image.merge("LA", [Image.fromarray(GREY), image.getchannel("A")])
    elif mode == "palette":
        image = Image.fromarray(np.array([[0, 1], [0, 0]], np.uint8))
        image.putpalette([255, 0, 0, 0, 255, 0])
        image.info["transparency"] = 1
    path = saved(tmp_path, image, "a.png")
    pixels = read_image(path)
    for source in (path, image):
        assert as_picture(source, None).notes == ("its transparent pixels are read over white",)
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[0, 0].tolist() == ([0, 0, 0] if mode == "LA" else [255, 0, 0])


def test_opaque_alpha_is_no_note() -> None:
    assert as_picture(Image.fromarray(RGB).convert("RGBA"), None).notes == ()


def test_what_is_assumed_of_an_opened_picture_is_noted() -> None:
    assert "12-bit" in as_picture(Image.fromarray(np.full((2, 2), 3000, np.uint16)), None).notes[0]


def test_channels_of_an_array_are_chosen_or_refused() -> None:
    assert np.array_equal(as_picture(RGB, None, (2, 1, 0)).pixels, RGB[..., ::-1])
    assert np.array_equal(as_picture(RGB, None, (1,)).pixels, np.repeat(RGB[..., 1:2], 3, axis=2))
    five = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    assert np.array_equal(as_picture(five, None, (4, 0, 2)).pixels, five[..., [4, 0, 2]])
    for image in (RGB, RGB[..., 0], Image.fromarray(RGB)):
        with pytest.raises(InputError, match="expected a file, or an array HxWxC with channel 5, got"):
            as_picture(image, None, (4,))


@pytest.mark.parametrize("source", [None, 5, b"bytes", [np.zeros((2, 2, 3), np.uint8)]])
def test_what_is_no_picture_is_named(source: Any) -> None:
    with pytest.raises(InputError, match=f"a PIL image or a NumPy array, got {type(source).__name__}"):
        as_picture(source, None)


def test_sixteen_bit(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257
    for name in ("a.png", "a.tif"):
        image = read_image(saved(tmp_path, Image.fromarray(deep), name))
        assert np.array_equal(image[..., 0], GREY), name


def test_sixteen_bit_that_is_dark_stays_dark(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.fromarray(np.full((2, 2), 200, np.uint16)), "a.png"))
    assert image.max() == 1


def test_float(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.fromarray((GREY / 255).astype(np.float32)), "a.tif"))
    assert np.array_equal(image[..., 0], GREY)


def test_cmyk(tmp_path: Path) -> None:
    cmyk = Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK")
    image = read_image(saved(tmp_path, cmyk, "a.jpg", quality=100))
    assert np.abs(image.astype(int) - [200, 30, 60]).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((20, 40, 3), np.uint8)
    upright[:10, :20] = (250, 10, 10)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transposition that the viewer will reverse
    stored = Image.fromarray(upright)
    if orientation in undo:
        stored = stored.transpose(list(Image.Transpose)[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(saved(tmp_path, stored, "a.jpg", exif=exif, quality=95))
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 5


def test_exif_of_real_photographs() -> None:
    shapes = {read_image(path).shape for path in sorted(shared("data", "media", "exif").iterdir())}
    # the same scene stored in four orientations
    assert len(shapes) == 1


def test_arrays_and_pil_images() -> None:
    assert np.array_equal(read_image(RGB), RGB)
    assert np.array_equal(read_image(Image.fromarray(RGB)), RGB)
    assert read_image(GREY).shape == (2, 2, 3)
    for wrong in (RGB.astype(np.float32), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 3, 3), np.uint8)):
        with pytest.raises(InputError, match="expected an image"):
            read_image(wrong)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=r"broken\.png"):
            read(path)


def test_truncated_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = saved(tmp_path, Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)), "cut.png")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"cut\.png"):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File not found"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError):
        read_image(tmp_path)
    with pytest.raises(InputError, match="File not found"):
        read_mask(tmp_path / "none.png")


def test_masks_keep_their_numbers(tmp_path: Path) -> None:
    numbers = np.array([[0, 7], [255, 3]], np.uint8)
    labels = LabelMap.from_names([f"c{index}" for index in range(8)])
    write_mask(tmp_path / "sub" / "m.png", numbers, labels)
    assert np.array_equal(read_mask(tmp_path / "sub" / "m.png"), numbers)
    with Image.open(tmp_path / "sub" / "m.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image.convert("RGB")), labels.colorize(numbers))
    deep = np.array([[0, 40_000]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_mask(tmp_path / "deep.png"), deep)
    assert read_mask(saved(tmp_path, Image.fromarray(RGB), "rgb.png")).shape == (2, 2, 3)


def test_colour_masks_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow keeps the upper 8 bits, which would turn the colour (0, 0, 200) into black."""
    rows = b"".join(b"\0" + bytes([0, 0, 0, 0, 0, 200]) * 4 for _ in range(3))
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(InputError, match="colour mask of 8 bits a channel, got 16"):
        read_mask(tmp_path / "a.png")
