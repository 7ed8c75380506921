from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from numpy.typing import NDArray

from refineseg.data.pictures.statistics import statistics
from refineseg.data.pictures.tiff_samples import is_scientific, read_tiff
from refineseg.errors import InputError
from tests.data.formats.helpers import brought_in, fails, mask_file, rows

MASK = rows("0011....", *["........"] * 4, "xx......")


def values(seed: int, channels: int = 5, dtype: str = "uint16") -> NDArray[Any]:
    return (
        np.random.default_rng(seed).integers(0, 256 if dtype == "uint8" else 4000, (6, 8, channels)).astype(dtype)
    )


def made(folder: Path) -> Path:
    for index, name in enumerate(("a", "b")):
        (folder / "images").mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(
            folder / f"images/{name}.tif", values(index), photometric="minisblack", planarconfig="contig"
        )
        (folder / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(folder / f"masks/{name}.tif", MASK, compression="zlib")
    (folder / "labels.yaml").write_text("classes: [field, water]\nignore: [255]\n")
    return folder


def test_files_are_kept_and_statistics_written(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    report, found = brought_in(src, tmp_path / "out")
    assert report.format == "tiff"
    np.testing.assert_array_equal(found["a"], MASK)
    assert (tmp_path / "out/images/b.tif").read_bytes() == (src / "images/b.tif").read_bytes()
    written = yaml.safe_load((tmp_path / "out/labels.yaml").read_text())["statistics"]
    pixels = np.concatenate([values(0), values(1)]).reshape(-1, 5) / 65535
    assert written["dtype"] == "uint16"
    assert (written["low"], written["high"], written["shown"]) == ([0.0] * 5, [65535.0] * 5, [0, 1, 2])
    np.testing.assert_allclose(written["mean"], pixels.mean(0), atol=1e-7)
    np.testing.assert_allclose(written["std"], pixels.std(0), atol=1e-7)


def test_statistics_leave_held_out_pictures_aside(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    (src / "train.txt").write_text("a\n")
    (src / "val.txt").write_text("b\n")
    brought_in(src, tmp_path / "out")
    written = yaml.safe_load((tmp_path / "out/labels.yaml").read_text())["statistics"]
    np.testing.assert_allclose(written["mean"], (values(0) / 65535).mean((0, 1)), atol=1e-7)


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (values(0).transpose(2, 0, 1), {"photometric": "minisblack", "planarconfig": "separate"}),
        (values(0).transpose(2, 0, 1), {"photometric": "minisblack"}),  # a stack of pages
        (values(0), {"photometric": "minisblack", "planarconfig": "contig", "compression": "zlib"}),
    ],
)
def test_channels_come_last_whatever_the_layout(tmp_path: Path, array: NDArray[Any], options: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", array, **options)
    np.testing.assert_array_equal(read_tiff(tmp_path / "a.tif"), values(0))


def test_what_counts_as_scientific(tmp_path: Path) -> None:
    for name, array, expected in (
        ("rgb.tif", values(0, 3, "uint8"), False),
        ("four.tif", values(0, 4, "uint8"), True),
        ("deep.tif", values(0, 3), True),
        ("grey.tif", values(0, 1, "uint8")[..., 0], False),
        ("float.tif", values(0, 1, "float32")[..., 0], True),
    ):
        plain: Any = {"photometric": "rgb"} if array.ndim == 3 else {}
        tifffile.imwrite(tmp_path / name, array, **plain)
        assert is_scientific(tmp_path / name) is expected, name


def test_pixels_without_data_do_not_count(tmp_path: Path) -> None:
    array = values(0, 4, "float32")
    array[0, 0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig")
    found = statistics([tmp_path / "a.tif"])
    low, high = np.nanmin(array, (0, 1)), np.nanmax(array, (0, 1))
    np.testing.assert_allclose((found["low"], found["high"]), (low, high))
    np.testing.assert_allclose(found["mean"], (np.nanmean(array, (0, 1)) - low) / (high - low), rtol=1e-6)
    np.testing.assert_allclose(found["std"], np.nanstd(array, (0, 1)) / (high - low), rtol=1e-6)
    tifffile.imwrite(tmp_path / "b.tif", array * np.nan, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=r"channel 0 of .*b\.tif"):
        statistics([tmp_path / "b.tif"])


def test_statistics_keep_small_numbers_and_large_offsets(tmp_path: Path) -> None:
    """12 bits in 32, metres above the sea, and a channel that says nothing."""
    deep = np.random.default_rng(0).integers(0, 4096, (6, 8, 2)).astype("uint32")
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="minisblack", planarconfig="contig")
    found = statistics([tmp_path / "a.tif"])
    np.testing.assert_allclose(found["std"], deep.std((0, 1)) / (2**32 - 1), rtol=1e-6)
    assert found["shown"] == [0, 0, 0]
    high = (8e6 + np.random.default_rng(1).normal(0, 2, (6, 8))).astype("float64")
    for name, shift in (("b.tif", 0), ("c.tif", 3)):
        both = np.stack([high + shift, np.full_like(high, 7)], axis=-1)
        tifffile.imwrite(tmp_path / name, both, photometric="minisblack", planarconfig="contig")
    found = statistics([tmp_path / "b.tif", tmp_path / "c.tif"])
    whole = np.stack([high, high + 3])
    np.testing.assert_allclose(found["std"], [whole.std() / np.ptp(whole), 1], rtol=1e-3)
    assert (found["low"][1], found["high"][1], found["mean"][1]) == (7, 8, 0)


def test_bad_files_are_named(tmp_path: Path) -> None:
    src = made(tmp_path / "src")
    tifffile.imwrite(src / "images/b.tif", values(1, 4), photometric="minisblack", planarconfig="contig")
    fails(src, tmp_path / "out", "tiff", "b.tif", "5 channels", "got 4")
    (src / "images/b.tif").write_bytes((src / "images/a.tif").read_bytes()[:300])
    fails(src, tmp_path / "out", "tiff", "b.tif")
    tifffile.imwrite(src / "images/b.tif", values(1)[:5], photometric="minisblack", planarconfig="contig")
    fails(src, tmp_path / "out", "tiff", "b.tif", "8x5", "8x6")
    tifffile.imwrite(src / "masks/a.tif", MASK.astype(np.float32))
    fails(src, tmp_path / "out", "tiff", "a.tif", "whole numbers", "float32")
    (src / "masks/a.tif").unlink()
    fails(src, tmp_path / "out", "tiff", "b.tif", "8x5", "8x6")
    mask_file(src / "masks/a.png", np.full((6, 8), 9))
    fails(src, tmp_path / "out", "tiff", "a.png", "9 (48 pixels)")
