"""Channels: raw values to [0, 1] and to false colours, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from refineseg.channels import Channels, display_rgb
from refineseg.errors import ConfigError, InputError

TWO = Channels("float32", (0.0, -10.0), (2.0, 10.0), (0.5, 0.25), (0.1, 0.05), (1, 1, 0))


def test_low_is_0_and_high_is_1_and_nothing_is_clipped() -> None:
    raw = np.array([[[0, -10], [2, 10]], [[1, 0], [4, -20]]], np.float32)
    expected = np.array([[[0, 0], [1, 1]], [[0.5, 0.5], [2, -0.5]]])
    np.testing.assert_allclose(TWO.to_unit(raw), expected)
    assert TWO.to_unit(raw).dtype == np.float32


def test_pixels_without_a_number_get_the_mean() -> None:
    raw = np.array([[[np.nan, 0], [1, np.inf]]], np.float32)
    np.testing.assert_allclose(TWO.to_unit(raw), [[[0.5, 0.5], [0.5, 0.25]]])


def test_large_offsets_keep_their_digits() -> None:
    channels = Channels("float64", (8_000_000.0,), (8_000_001.0,), (0.5,), (0.1,), (0, 0, 0))
    raw = np.array([[[8_000_000.25], [8_000_000.75]]])
    np.testing.assert_allclose(channels.to_unit(raw), [[[0.25], [0.75]]])
    deep = Channels("uint32", (0.0,), (2.0**32 - 1,), (0.5,), (0.1,), (0, 0, 0))
    np.testing.assert_allclose(deep.to_unit(np.array([[[2**31]]], np.uint32)), [[[2**31 / (2**32 - 1)]]])


def test_false_colours_show_two_deviations_about_the_mean() -> None:
    """Channel 0: mean 0.5, deviation 0.1, so 0.3 is black and 0.7 white; channel 1: 0.15 and 0.35."""
    unit = np.array([[[0.3, 0.15], [0.5, 0.25], [0.7, 0.35], [9, -9]]])
    raw = (unit * [2, 20] + [0, -10]).astype(np.float32)
    shown = TWO.false_color(raw)
    assert shown.tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255], [0, 0, 255]]]
    rgb = np.zeros((2, 2, 3), np.uint8)
    assert display_rgb(rgb, None) is rgb


def test_other_pictures_are_refused() -> None:
    for pixels in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint16), np.zeros((4, 4), np.float32)):
        with pytest.raises(InputError, match=r"a\.tif: expected 2 channels of float32"):
            TWO.check(pixels, "a.tif")
    with pytest.raises(InputError, match="at least 1x1"):
        TWO.check(np.zeros((0, 4, 2), np.float32), "a.tif")
    TWO.check(np.zeros((1, 1, 2), np.float32), "a.tif")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": [0]}, "each channel"),
        ({"low": [0, 10]}, "low below high"),
        ({"std": [0.1, 0]}, "std above 0"),
        ({"shown": [0, 1, 2]}, r"0\.\.1"),
        ({"maximum": 1}, "unknown setting"),
    ],
)
def test_bad_statistics_are_named(change: dict[str, object], message: str) -> None:
    assert Channels.from_dict(TWO.to_dict()) == TWO
    with pytest.raises(ConfigError, match=message):
        Channels.from_dict(TWO.to_dict() | change)
