"""``ArrayOps`` on a GPU: pixels are sent there, and only results come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from refineseg.inference.array_ops import LOG_FLOOR, TINY, ArrayOps, Filter

PART = 16 << 20  # scores upsampled at a time: pixels times classes


class GpuArrayOps(ArrayOps):
    """``ArrayOps`` on tensors of a device; its methods are documented there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def unit(self, pictures: NDArray[Any]) -> Tensor:  # noqa: D102
        x = self.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)
        return x.float() / 255 if x.dtype == torch.uint8 else x.float()

    def resized(  # noqa: D102
        self, images: Tensor, height: int, width: int, filter: Filter = "bilinear"
    ) -> Tensor:
        smaller = height < images.shape[2] or width < images.shape[3]
        smooth = smaller or filter == "bicubic"  # PIL's kernel, which torch has with antialias alone
        found = F.interpolate(images, (height, width), mode=filter, align_corners=False, antialias=smooth)
        return found.clamp(0, 1) if filter == "bicubic" else found

    def mirrored(self, x: Tensor) -> Tensor:  # noqa: D102
        return x.flip(-1)

    def log_probabilities(self, logits: Tensor) -> Tensor:  # noqa: D102
        return logits.log_softmax(1).clamp(min=LOG_FLOOR)

    def ranges(self, top: int, bottom: int, classes: int, width: int) -> Iterator[tuple[int, int]]:  # noqa: D102
        rows = max(1, PART // (classes * width))
        for first in range(top, bottom, rows):
            yield first, min(first + rows, bottom)

    def upsampled(  # noqa: D102
        self, maps: Tensor, top: int, bottom: int, size: tuple[int, int], first: int = 0, source: int | None = None
    ) -> Tensor:
        height, width = size
        source = maps.shape[2] if source is None else source
        position = (torch.arange(top, bottom, device=self.device, dtype=torch.float32) + 0.5) * (source / height)
        position = (position - 0.5).clamp(min=0)
        above = position.long().clamp(max=source - 1)
        below = (above + 1).clamp(max=source - 1)
        weight = (position - above).view(1, 1, -1, 1)
        rows = torch.lerp(maps[:, :, above - first], maps[:, :, below - first], weight)
        return F.interpolate(rows, (bottom - top, width), mode="bilinear", align_corners=False)

    def summed(self, log_scores: Iterable[Tensor]) -> Tensor:  # noqa: D102
        first, *others = (scores.exp() for scores in log_scores)
        for scores in others:
            first = first + scores
        return first

    def largest(self, scores: Tensor) -> Tensor:  # noqa: D102
        return scores.argmax(1).to(torch.uint8)

    def softmax(self, scores: Tensor) -> Tensor:  # noqa: D102
        return scores.softmax(1)

    def softened(self, scores: Tensor, labels: Tensor, temperatures: NDArray[Any]) -> Tensor:  # noqa: D102
        by_label = self.from_numpy(temperatures)[labels.long()][:, None]
        return (scores.clamp(min=TINY).log() / by_label).softmax(1)

    def from_numpy(self, array: NDArray[Any]) -> Tensor:  # noqa: D102
        return torch.from_numpy(np.require(array, requirements="W")).to(self.device)

    def to_numpy(self, array: Tensor) -> NDArray[Any]:  # noqa: D102
        return np.asarray(array.cpu().numpy())
