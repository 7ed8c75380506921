"""Files that readers of other projects get wrong (tests/strangers): the right pixels, voids and notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from refineseg.data import open_data
from refineseg.data.images import read_image
from refineseg.data.pictures.open_picture import open_picture, read_picture
from refineseg.data.pictures.statistics import statistics
from refineseg.errors import InputError

STRANGERS = Path(__file__).parents[2] / "strangers"
ALL = sorted((STRANGERS / "geo").iterdir()) + sorted((STRANGERS / "pics").iterdir())
FIRST = STRANGERS / "png16_12bit/images/d0.png"


@pytest.mark.parametrize("path", [*ALL, FIRST], ids=lambda path: path.name)
def test_windows_and_uploads_are_parts_of_the_whole(path: Path) -> None:
    whole = read_picture(path)
    assert np.array_equal(read_image(path), whole.pixels)
    assert np.array_equal(read_picture(path.read_bytes()).pixels, whole.pixels)
    with open_picture(path) as picture:
        assert picture.size == whole.size
        assert picture.notes == whole.notes
        for window in ((0, 50, 0, 90), (33, 96, 20, 91), (90, 91, 89, 90)):
            top, bottom, left, right = window
            assert np.array_equal(picture.read(*window), whole.pixels[top:bottom, left:right])


def test_near_infrared_is_not_alpha() -> None:
    path = STRANGERS / "geo/naip_rgb_noalpha.tif"
    stored = tifffile.imread(path)
    found = read_picture(path)
    assert np.array_equal(found.pixels, stored[..., :3])
    assert found.no_data is None
    assert found.notes == ("left out 1 channel beyond the colours: 3 of 4 are read",)
    assert np.array_equal(read_picture(path, None, (3, 1, 0)).pixels, stored[..., [3, 1, 0]])
    with pytest.raises(InputError, match=r"--channels in 1\.\.4, got 1,2,5"):
        read_picture(path, None, (0, 1, 4))


def test_tiles_that_a_sparse_file_leaves_out_are_0() -> None:
    pixels = read_picture(STRANGERS / "geo/sparse.tif").pixels
    assert pixels[:256, :256].any()
    assert not pixels[256:].any()
    assert not pixels[:, 256:].any()


def test_ycbcr_is_converted() -> None:
    stored = tifffile.imread(STRANGERS / "pics/ycbcr.tif").astype(float)
    y, cb, cr = np.moveaxis(stored - (0, 128, 128), -1, 0)
    red, green, blue = y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb  # ITU-R BT.601
    expected = np.stack([red, green, blue], -1).clip(0, 255)
    assert np.abs(read_picture(STRANGERS / "pics/ycbcr.tif").pixels - expected).max() <= 1


@pytest.mark.parametrize(("name", "note"), [("multipage.tif", "page 1 of 2"), ("gif_anim.gif", "frame 1 of 2")])
def test_the_first_of_several_is_read_and_named(name: str, note: str) -> None:
    found = read_picture(STRANGERS / "pics" / name)
    assert found.notes == (f"{note} is read",)
    if name.endswith("tif"):
        assert np.array_equal(found.pixels, tifffile.imread(STRANGERS / "pics" / name)[0])


def test_nodata_is_void_in_statistics_and_masks() -> None:
    files = sorted((STRANGERS / "geo_nodata/images").iterdir())
    values = np.stack([tifffile.imread(path) for path in files]).astype(float)
    valid = np.where(values == -9999, np.nan, values)
    found = statistics(files)
    low, high = np.nanmin(valid, (0, 1, 2)), np.nanmax(valid, (0, 1, 2))
    np.testing.assert_allclose((found["low"], found["high"]), (low, high), rtol=1e-6)
    np.testing.assert_allclose(found["mean"], (np.nanmean(valid, (0, 1, 2)) - low) / (high - low), rtol=1e-6)
    data = open_data(f"folder:{STRANGERS / 'geo_nodata'}")  # its labels.yaml has no statistics
    assert data.channels is not None
    assert min(data.channels.low) > -9999
    for split in data.splits.values():
        for sample in split:
            pixels, labels = data.read(sample)
            void = np.isnan(pixels).all(-1)
            assert void.sum() == 512
            assert (labels[void] == 255).all()
            assert not np.isnan(data.channels.to_unit(pixels)).any()


def test_twelve_bits_in_sixteen() -> None:
    raw = np.asarray(Image.open(FIRST)).astype(float)
    found = read_picture(FIRST)
    assert np.array_equal(found.pixels[..., 0], np.rint(raw / 4095 * 255))
    assert found.notes == (f"uint16 values up to {raw.max():g}: read as 12-bit, 4095 for white",)
    data = open_data(f"folder:{STRANGERS / 'png16_12bit'}")
    assert data.channels is not None
    assert (data.channels.count, data.channels.dtype) == (1, "uint16")
    shown = data.channels.false_color(data.read(data.split("train")[0])[0])
    assert shown.mean() > 60  # not nearly black
