"""The predictor's array_ops, NumPy's and a GPU's, against literal references and torch's own functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.runners.gpu import GpuArrayOps

# The operations for a GPU run on a CPU's tensors too, so that every machine tests them.
BOTH = [ArrayOps(), GpuArrayOps(torch.device("cpu"))]
NAMES = ["numpy", "torch"]
RNG = np.random.default_rng(0)


def random(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def upsampled(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    wide = F.interpolate(torch.from_numpy(maps), size, mode="bilinear", align_corners=False)
    return np.asarray(wide.numpy())


@pytest.mark.parametrize("array_ops", BOTH, ids=NAMES)
@pytest.mark.parametrize("cells", [(1, 1), (5, 3), (9, 12), (2, 40)])
@pytest.mark.parametrize("size", [(37, 50), (36, 160), (8, 5)])
def test_any_rows_are_those_of_the_whole(
    array_ops: ArrayOps, cells: tuple[int, int], size: tuple[int, int]
) -> None:
    maps = random(2, 3, *cells)
    whole = upsampled(maps, size)
    held = array_ops.from_numpy(maps)
    for top, bottom in ((0, 7), (7, 8), (size[0] // 2, size[0])):
        found = array_ops.to_numpy(array_ops.upsampled(held, top, bottom, size))
        np.testing.assert_allclose(found, whole[:, :, top:bottom], atol=1e-5)
    if cells[0] > 4:  # of a map that is held from its third row on, the lower rows
        top = size[0] * 4 // 5
        found = array_ops.to_numpy(array_ops.upsampled(held[:, :, 2:], top, size[0], size, 2, cells[0]))
        np.testing.assert_allclose(found, whole[:, :, top:], atol=1e-5)


@pytest.mark.parametrize("array_ops", BOTH, ids=NAMES)
@pytest.mark.parametrize("classes", [1, 2, 21])
def test_the_first_of_the_largest_classes(array_ops: ArrayOps, classes: int) -> None:
    scores = RNG.integers(-3, 2, (2, classes, 5, 7)).astype(np.float32)  # many are equal
    literal = [
        [[max(range(classes), key=lambda k: float(x[k, i, j])) for j in range(7)] for i in range(5)]
        for x in scores
    ]
    found = array_ops.to_numpy(array_ops.largest(array_ops.from_numpy(scores)))
    assert found.dtype == np.uint8
    assert found.tolist() == literal


@pytest.mark.parametrize("array_ops", BOTH, ids=NAMES)
def test_images(array_ops: ArrayOps) -> None:
    pictures = RNG.integers(0, 256, (2, 30, 45, 3), np.uint8)
    images = array_ops.unit(pictures)
    expected = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(array_ops.to_numpy(images), expected, atol=1e-7)
    np.testing.assert_array_equal(array_ops.to_numpy(array_ops.mirrored(images)), expected.flip(-1))
    floats = np.ascontiguousarray(expected.permute(0, 2, 3, 1))
    np.testing.assert_array_equal(array_ops.to_numpy(array_ops.unit(floats)), expected)
    for size in ((15, 22), (30, 45), (47, 70)):
        wanted = F.interpolate(expected, size, mode="bilinear", antialias=size[0] < 30)
        np.testing.assert_allclose(array_ops.to_numpy(array_ops.resized(images, *size)), wanted, atol=2e-5)


@pytest.mark.parametrize("array_ops", BOTH, ids=NAMES)
def test_probabilities(array_ops: ArrayOps) -> None:
    logits = 12 * random(2, 4, 6, 5)
    x = torch.from_numpy(logits)
    held = array_ops.from_numpy(logits)
    floored = x.log_softmax(1).clamp(min=-20)
    assert (floored == -20).any()
    found = array_ops.to_numpy(array_ops.log_probabilities(held))
    np.testing.assert_allclose(found, floored, atol=1e-5)
    np.testing.assert_allclose(array_ops.to_numpy(array_ops.softmax(held)), x.softmax(1), atol=1e-6)
    assert np.array_equal(array_ops.to_numpy(held), x)  # nothing was changed in place
    views = [array_ops.from_numpy(floored.numpy().copy()), array_ops.from_numpy(floored.numpy() / 2)]
    total = floored.exp() + (floored / 2).exp()
    summed = array_ops.summed(views)
    np.testing.assert_allclose(array_ops.to_numpy(summed), total, rtol=1e-5)
    expected = total / total.sum(1, keepdim=True)
    np.testing.assert_allclose(array_ops.to_numpy(array_ops.normalised(summed)), expected, rtol=1e-5)


@pytest.mark.parametrize("array_ops", BOTH, ids=NAMES)
def test_temperatures_by_hand(array_ops: ArrayOps) -> None:
    """p = (0.8, 0.2) at T = 2 of its label is (sqrt 0.8, sqrt 0.2) divided by their sum: 2/3 and 1/3."""
    scores = np.array([[[[0.8, 0.2]], [[0.2, 0.8]]]], np.float32)
    labels = np.array([[[0, 1]]], np.uint8)
    held = array_ops.softened(
        array_ops.from_numpy(scores), array_ops.from_numpy(labels), np.array([2.0, 1.0], np.float32)
    )
    found = array_ops.to_numpy(held)
    np.testing.assert_allclose(found[0, :, 0, 0], [2 / 3, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(found[0, :, 0, 1], [0.2, 0.8], atol=1e-6)


@pytest.mark.parametrize("array_ops", BOTH, ids=NAMES)
def test_ranges_are_all_rows_once(array_ops: ArrayOps) -> None:
    for classes, width in ((2, 30), (150, 40_000)):
        parts = list(array_ops.ranges(3, 100, classes, width))
        assert [row for first, last in parts for row in range(first, last)] == list(range(3, 100))
