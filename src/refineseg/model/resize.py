"""Resizing of maps and pictures inside the network, BxCxHxW.

The PyTorch ports use bilinear; the authors' MATLAB code uses bicubic, ``imresize`` with its defaults.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CUBIC = -0.5  # the kernel's free parameter: Keys 1981, and MATLAB's imresize (torch's own bicubic has -0.75)
REACH = 2  # source pixels on either side that the kernel covers


def bilinear(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Bilinear resize to ``size`` (height, width); the same tensor if it has that size already."""
    if x.shape[-2:] == torch.Size(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=align_corners)


def upsample_on_grid(x: Tensor, size: Sequence[int], factor: int, align_corners: bool = False) -> Tensor:
    """Bilinear upsampling by a whole ``factor``, cut to ``size``.

    With ``align_corners``, cell i lies at i * factor of the finer map, as with torch's ``align_corners`` for sides
    of one more than a multiple of the factor; otherwise at the centre of its ``factor`` cells.

    If the stride does not divide a side of the picture, the last cell of a coarse map reaches beyond it. Resizing
    to the finer map's size would squeeze the whole map by up to half a coarse cell, so that places would depend on
    the picture's size and windows would not agree with the whole.
    """
    if factor > 1:
        height, width = x.shape[-2:]
        if align_corners:  # one more cell, at the end of the last one
            x = torch.cat([x, x[..., -1:, :]], -2)
            x = torch.cat([x, x[..., -1:]], -1)
            whole = [height * factor + 1, width * factor + 1]
        else:
            whole = [height * factor, width * factor]
        x = F.interpolate(x, whole, mode="bilinear", align_corners=align_corners)
        x = x[..., : min(size[0], height * factor), : min(size[1], width * factor)]
    return bilinear(x, size, align_corners=False)  # other networks' maps may lack the remainder


def bicubic(x: Tensor, size: Sequence[int], one_ratio: bool = False) -> Tensor:
    """Bicubic resize as by MATLAB's ``imresize``; the same tensor if it has that size already.

    Half-pixel centres, a = -0.5, mirrored at the border; where a side shrinks, the kernel is widened by the same
    ratio (antialiasing).

    Args:
        x: BxCxHxW.
        size: height and width of the result.
        one_ratio: whether both sides are scaled by the larger of the two ratios and the result is cut to ``size``,
            as in the authors' fusion; otherwise each side has its own ratio.
    """
    if x.shape[-2:] == torch.Size(size):
        return x
    given = x.shape[-2:]
    ratios = [(_number(x, old), _number(x, new)) for old, new in zip(given, size, strict=True)]
    if one_ratio:  # by torch.where: a trace would keep the side that had the larger ratio in the traced picture
        (height, new_height), (width, new_width) = ratios
        wide = new_width * height > new_height * width
        ratios = [(torch.where(wide, width, height), torch.where(wide, new_width, new_height))] * 2
    rows, columns = (_weights(x, old, new, *ratio) for old, new, ratio in zip(given, size, ratios, strict=True))
    return rows @ x @ columns.T


def _number(like: Tensor, value: int) -> Tensor:
    return torch.scalar_tensor(value, dtype=torch.int64, device=like.device)


def _weights(like: Tensor, given: int, side: int, before: Tensor, after: Tensor) -> Tensor:
    """Matrix side x given: the weight of each source pixel in each pixel of the result.

    ``after`` pixels of the result span ``before`` source pixels. Places are kept as a whole number and a fraction,
    so that float32 is exact to 1e-7 of a pixel everywhere in the picture.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    target = torch.arange(side, device=like.device)[:, None]
    source = torch.arange(given, device=like.device)
    halves = (2 * target + 1) * before + after  # (the place plus 1, so that it is not negative) * 2 * after
    whole = halves // (2 * after)
    fraction = (halves - whole * (2 * after)).to(dtype) / (2 * after).to(dtype)
    narrow = (after.to(dtype) / before.to(dtype)).clamp(max=1)
    total = torch.zeros((), dtype=dtype, device=like.device)
    for turn in (-1, 0, 1):  # the picture and its mirror images on either side
        for mirrored in (source + 2 * given * turn, 2 * given * turn - 1 - source):
            total = total + _cubic(((whole - 1 - mirrored).to(dtype) + fraction) * narrow)
    return (total / total.sum(1, keepdim=True)).to(like.dtype)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel (IEEE Transactions on Acoustics, Speech and Signal Processing, 1981)."""
    d = distance.abs()
    inner = ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1
    outer = CUBIC * (((d - 5) * d + 8) * d - 4)
    return torch.where(d <= 1, inner, torch.where(d < REACH, outer, torch.zeros_like(d)))
