"""From score maps at stride 4 to labels and probabilities of full size: upsampling, fusing of views, the largest.

Shapes: B pictures, K classes; maps BxKxhxw, sizes (height, width).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from refineseg.inference.options import TINY, row_ranges


def soften(scores: Tensor, labels: Tensor, temperatures: Tensor) -> Tensor:
    """Probabilities BxKxHxW with the temperature of each pixel's label BxHxW: softmax(log p / T[label])."""
    return (scores.clamp(min=TINY).log() / temperatures[labels][:, None]).softmax(1)


def upsample(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, half-pixel centres: BxKxhxw to BxKxHxW."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def probabilities_of(parts: list[Tensor], fused: bool) -> Tensor:
    """Full-size maps of all views to probabilities."""
    if not fused:
        return parts[0].softmax(1)
    scores = sum((part.exp() for part in parts), torch.zeros(())) / len(parts)
    return scores / scores.sum(1, keepdim=True)


def largest_of(parts: list[Tensor], fused: bool) -> Tensor:
    """Labels BxHxW of full-size maps, which are used up."""
    total = parts[0].exp_() if fused else parts[0]
    for part in parts[1:]:
        total.add_(part.exp_() if fused else part)
    return total.argmax(1) if total.device.type != "cpu" else argmax_of_planes(total)


def argmax_of_planes(scores: Tensor) -> Tensor:
    """Labels BxHxW uint8 of BxKxHxW: the first of the largest, class by class.

    On a processor torch's argmax takes one number at a time and is ten times as slow.
    """
    first, *others = scores.unbind(1)
    best = first.clone()
    labels, larger = torch.zeros_like(best, dtype=torch.uint8), torch.empty_like(best, dtype=torch.bool)
    for index, plane in enumerate(others, 1):
        torch.gt(plane, best, out=larger)
        labels.masked_fill_(larger, index)
        torch.maximum(best, plane, out=best)
    return labels


def argmax_in_strips(maps: list[Tensor], size: tuple[int, int], fused: bool) -> Tensor:
    """Labels BxHxW of the maps upsampled to ``size``; only a strip of the full-size scores exists at a time.

    Bilinear upsampling is done row by row by hand, so that a strip is exactly the same rows of the whole.
    """
    maps = [scores.contiguous() for scores in maps]  # plane by plane: what argmax_of_planes goes through
    labels = torch.empty((maps[0].shape[0], *size), dtype=torch.uint8, device=maps[0].device)
    for top, bottom in row_ranges(0, size[0], maps[0].shape[1], size[1]):
        labels[:, top:bottom] = largest_of([rows_upsampled(scores, top, bottom, size) for scores in maps], fused)
    return labels


def rows_upsampled(
    scores: Tensor, top: int, bottom: int, size: tuple[int, int], first: int = 0, source: int | None = None
) -> Tensor:
    """Rows ``top`` to ``bottom`` of the bilinear upsampling (half-pixel centres) of BxKxhxw to ``size``.

    Where ``scores`` are only rows ``first`` and on of a map of ``source`` rows, all that are needed must be there.
    """
    height, width = size
    source = scores.shape[-2] if source is None else source
    position = (torch.arange(top, bottom, device=scores.device, dtype=torch.float32) + 0.5) * (
        source / height
    ) - 0.5
    position = position.clamp(min=0)
    above = position.floor().long().clamp(max=source - 1)
    below = (above + 1).clamp(max=source - 1)
    weight = (position - above).view(1, 1, -1, 1)
    rows = torch.lerp(scores[:, :, above - first], scores[:, :, below - first], weight)
    return F.interpolate(rows, (bottom - top, width), mode="bilinear", align_corners=False)
