"""From pixels to the network's input, and from its score maps at stride 4 to labels and probabilities. No torch.

Shapes: B pictures, C channels, K classes; images BxCxHxW, maps BxKxhxw, full-size scores BxKxHxW.

On a CPU NumPy is faster than torch: columns are interpolated by small matrix products and the largest class is
found plane by plane, in about a tenth of the time of torch's interpolate and argmax (benchmarks/postprocessing.py,
one core).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.labels import UInt8

LOG_FLOOR = -20.0  # least log-probability, as in the authors' evaluation
TINY = 1e-9  # least probability when a temperature is applied
ROWS = 16  # rows upsampled at a time, so that they stay in the cache
COLUMNS = 64  # columns interpolated by one matrix product
Filter = Literal["bilinear", "bicubic"]
Array = Any  # an ndarray; in a subclass for a GPU, a tensor


class ArrayOps:
    """The predictor's computations before and after the network, on the CPU; there is a subclass for GPUs."""

    def unit(self, pictures: NDArray[Any]) -> Array:
        """Pictures BxHxWxC, uint8 or floats in [0, 1], as images BxCxHxW in [0, 1]."""
        if pictures.dtype == np.uint8:
            pictures = pictures.astype(np.float32)
            pictures /= np.float32(255)
        return pictures.astype(np.float32, copy=False).transpose(0, 3, 1, 2)

    def resized(self, images: Array, height: int, width: int, filter: Filter = "bilinear") -> Array:
        """Images resized with half-pixel centres and antialiasing; bicubic results are clipped to [0, 1]."""
        planes = images.reshape(-1, *images.shape[2:])
        resample = Image.Resampling[filter.upper()]
        made = [np.asarray(Image.fromarray(plane).resize((width, height), resample)) for plane in planes]
        found = np.stack(made).reshape(*images.shape[:2], height, width)
        return found.clip(0, 1) if filter == "bicubic" else found

    def mirrored(self, x: Array) -> Array:
        """Images or maps flipped left to right."""
        return x[..., ::-1].copy("K")  # a copy, since torch takes no negative strides

    def log_probabilities(self, logits: Array) -> Array:
        """Log-softmax over the classes, floored as in the authors' evaluation."""
        x = logits - logits.max(1, keepdims=True)
        x -= np.log(np.exp(x).sum(1, keepdims=True))
        return np.maximum(x, np.float32(LOG_FLOOR), out=x)

    def ranges(self, top: int, bottom: int, classes: int, width: int) -> Iterator[tuple[int, int]]:
        """Rows ``top`` to ``bottom`` in the parts that are upsampled at a time."""
        del classes, width  # used on a GPU only
        for first in range(top, bottom, ROWS):
            yield first, min(first + ROWS, bottom)

    def upsampled(
        self, maps: Array, top: int, bottom: int, size: tuple[int, int], first: int = 0, source: int | None = None
    ) -> Array:
        """Rows ``top`` to ``bottom`` of the bilinear upsampling (half-pixel centres) to ``size``: BxKx...xW.

        ``maps`` may hold only some rows, from ``first`` on, of maps with ``source`` rows.
        """
        height, width = size
        source = maps.shape[2] if source is None else source
        above, below, weight = neighbours(np.arange(top, bottom), source, height)
        upper, lower = maps[:, :, above - first], maps[:, :, below - first]
        rows = upper + weight[:, None] * (lower - upper)
        wide = np.empty((*rows.shape[:3], width), np.float32)
        for left, right, start, stop, product in _column_products(maps.shape[3], width):
            np.matmul(rows[..., start:stop], product, out=wide[..., left:right])
        return wide

    def summed(self, log_scores: Iterable[Array]) -> Array:
        """Sum of the exponentials of full-size maps, which are overwritten."""
        first, *others = (np.exp(scores, out=scores) for scores in log_scores)
        for scores in others:
            first += scores
        return first

    def largest(self, scores: Array) -> Array:
        """Labels BxHxW uint8 of the largest scores, the first of equal ones.

        NumPy's argmax over any but the last axis is not vectorised. Here planes are compared class by class; since
        labels grow, taking the later class is a maximum of small integers.
        """
        best = scores[:, 0].copy()
        labels, chosen = np.zeros(best.shape, np.uint8), np.empty(best.shape, np.uint8)
        larger = np.empty(best.shape, np.bool_)
        for index in range(1, scores.shape[1]):
            plane = scores[:, index]
            np.greater(plane, best, out=larger)
            np.multiply(larger.view(np.uint8), np.uint8(index), out=chosen)
            np.maximum(labels, chosen, out=labels)
            np.maximum(best, plane, out=best)
        return labels

    def softmax(self, scores: Array) -> Array:
        """Probabilities from logits."""
        x = np.exp(scores - scores.max(1, keepdims=True))
        x /= x.sum(1, keepdims=True)
        return x

    def normalised(self, scores: Array) -> Array:
        """Positive scores divided by their sum over the classes."""
        return scores / scores.sum(1, keepdims=True)  # the same call for tensors

    def softened(self, scores: Array, labels: Array, temperatures: NDArray[np.floating[Any]]) -> Array:
        """Probabilities with the temperature of each pixel's label: softmax(log p / T[label])."""
        return self.softmax(np.log(np.maximum(scores, TINY)) / temperatures[labels][:, None])

    def from_numpy(self, array: NDArray[Any]) -> Array:
        """A NumPy array as the type that these methods take."""
        return array

    def to_numpy(self, array: Array) -> NDArray[Any]:
        """The inverse of ``from_numpy``; half precision stays half."""
        return np.asarray(array)


def neighbours(
    places: NDArray[np.int64], source: int, target: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Cells of ``source`` before and after each place on an axis of ``target``, and the second one's weight."""
    position = np.maximum((places + 0.5) * (source / target) - 0.5, 0)
    before = np.minimum(position.astype(np.int64), source - 1)
    return before, np.minimum(before + 1, source - 1), (position - before).astype(np.float32)


@lru_cache(maxsize=32)
def _column_products(source: int, width: int) -> tuple[tuple[int, int, int, int, NDArray[np.float32]], ...]:
    """Interpolation from ``source`` to ``width`` columns as products: (left, right, first, end, weights)."""
    before, after, share = neighbours(np.arange(width), source, width)
    products = []
    for left in range(0, width, COLUMNS):
        right = min(left + COLUMNS, width)
        start, stop = int(before[left]), int(after[right - 1]) + 1
        weights, made = np.zeros((stop - start, right - left), np.float32), np.arange(right - left)
        np.add.at(weights, (before[left:right] - start, made), 1 - share[left:right])
        np.add.at(weights, (after[left:right] - start, made), share[left:right])
        products.append((left, right, start, stop, weights))
    return tuple(products)


def uncertainty(probabilities: NDArray[Any]) -> UInt8:
    """Entropy of KxHxW probabilities as a share of the largest possible: 0 is certain, 255 all classes alike."""
    p = np.clip(probabilities.astype(np.float32), TINY, 1)
    if len(p) == 1:
        return np.zeros(p.shape[1:], np.uint8)
    entropy = -(p * np.log(p)).sum(0) / np.log(len(p))
    entropy[~(probabilities > 0).any(0)] = 1  # the picture has no data there
    return np.asarray(np.clip(np.rint(entropy * 255), 0, 255), np.uint8)
