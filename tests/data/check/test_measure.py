from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from refineseg.data.check.measurements.image import perceptual_hash
from refineseg.data.check.measurements.mask import count_values, smoothed_share, thinness
from refineseg.data.images import nearest
from refineseg.labels import LabelMap
from tests.data.check.corpus import scene

LABELS = LabelMap.from_names(["a", "b", "c"])


@given(arrays(st.sampled_from([np.uint8, np.uint16, np.int32]), array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_counted_as_numpy_counts(mask: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    values, counts = count_values(mask)
    expected, found = np.unique(mask, return_counts=True)
    assert values.tolist() == expected.tolist()
    assert counts.tolist() == found.tolist()


def test_between_by_hand() -> None:
    assert smoothed_share(np.array([[0, 0, 3, 3]])) == 0.0
    # Two borders (0 1 3) and (1 3 3); the first runs over an in-between value.
    assert smoothed_share(np.array([[0, 1, 3, 3]])) == 0.5
    assert smoothed_share(np.array([[0], [1], [3], [3]])) == 0.5
    assert smoothed_share(np.array([[0, 0, 1, 1]])) == 0.0  # neighbouring numbers have nothing between them


def test_a_thin_class_beside_ignored_pixels_is_no_smoothing() -> None:
    mask = np.array([[0, 2, 255, 255]])
    assert smoothed_share(mask, mask == 255, mask < 3) == 0.0
    strange = np.array([[0, 130, 255, 255]])
    assert smoothed_share(strange, strange == 255, strange < 3) == 0.5


def test_thinness_by_hand() -> None:
    lines = np.full((12, 12), 255, np.uint8)
    lines[6] = 1
    assert thinness(lines, LABELS) == 1.0
    block = np.full((20, 20), 255, np.uint8)
    block[:10, :12] = 1  # of 10x12 pixels all but the 8x10 away from its two inner sides are near ignored ones
    assert thinness(block, LABELS) == pytest.approx(1 - 8 * 10 / 120)
    assert thinness(np.zeros((9, 9), np.uint8), LABELS) == 0.0


def test_nearest_takes_the_middle_of_each_cell() -> None:
    mask = np.arange(36).reshape(6, 6)
    assert nearest(mask, (2, 3)).tolist() == [[7, 10], [19, 22], [31, 34]]
    assert (nearest(mask, (6, 6)) == mask).all()


def test_perceptual_hash_survives_size_and_compression_and_tells_scenes_apart(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    one, other = (Image.fromarray(scene(rng)[0]).convert("L") for _ in range(2))
    one.save(tmp_path / "one.jpg", quality=60)
    again = Image.open(tmp_path / "one.jpg").resize((97, 71))
    assert (perceptual_hash(one) ^ perceptual_hash(again)).bit_count() <= 6
    assert (perceptual_hash(one) ^ perceptual_hash(other)).bit_count() > 12
