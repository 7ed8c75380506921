"""3x3 convolutions by Winograd's F(4x4, 3x3), in strips of rows that fit in the processor's cache.

A tile of 4x4 outputs takes 36 multiplications per pair of channels instead of 144: the 6x6 inputs and the weights
are transformed by additions, multiplied by 36 matrix products, and the products transformed back. Source: Lavin
and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import ceil, prod

import torch
from torch import Tensor, nn

from refineseg.inference.fast.matmul import batched_matmul
from refineseg.model.memory_saving import starts

TILE, SPAN = 4, 6  # outputs and inputs of a tile, in each direction
STRIP_BYTES = 5 << 20  # transformed inputs of a strip per thread; measured with 1 MiB of L2 and 16 of L3 a core
# Channels and tiles below which oneDNN's convolution is as fast.
NARROWEST, FEWEST = (192, 256) if torch.backends.cpu.get_cpu_capability() == "AVX512" else (96, 64)
WEIGHTS = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64
).div_(24)


class Scratch(threading.local):
    """Buffers reused at every call, per thread: fresh memory costs a page fault for every 4 KiB."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor with undefined values, in the memory that belongs to the name."""
        size = prod(shape)
        buffer = self.buffers.get(name)
        if buffer is None or buffer.numel() < size:
            with torch.inference_mode(False):  # so that it can be written inside and outside inference mode
                buffer = self.buffers[name] = torch.empty(size, dtype=self.dtype)
        return buffer[:size].view(shape)


def is_faster(convolution: nn.Conv2d, height: int, width: int) -> bool:
    """Whether this algorithm is the fastest: for a plain float32 3x3 convolution that keeps height and width.

    It also needs enough channels and tiles.
    """
    return (
        convolution.weight.dtype == torch.float32
        and min(convolution.in_channels, convolution.out_channels) >= NARROWEST
        and ceil(height / TILE) * ceil(width / TILE) >= FEWEST
        and convolution.kernel_size == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.padding in ((1, 1), "same")
        and convolution.padding_mode == "zeros"
        and convolution.groups == 1
    )


def convolve(
    x: Tensor,
    convolution: nn.Conv2d,
    scratch: Scratch,
    *,
    rectify: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """A plain 3x3 convolution of stride 1, for inference.

    Args:
        x: BxCxHxW float32; channels last, or it is copied.
        convolution: its weights are read and transformed at every call (a few per cent of the work).
        scratch: buffers that are reused between calls.
        rectify: whether a ReLU follows.
        residual: BxKxHxW, added after the ReLU.

    Returns:
        BxKxHxW, channels last; its relative difference to direct convolution is about 3e-6.
    """
    batch, _, height, width = x.shape
    weights, bias = transformed(convolution.weight, scratch), convolution.bias
    out = x.new_empty(batch, height, width, convolution.out_channels)
    source = rows_of(x)
    added = None if residual is None else rows_of(residual)
    columns = ceil(width / TILE)
    per_row = SPAN**2 * columns * max(weights.shape[1:]) * 4
    step = TILE * max(1, STRIP_BYTES * torch.get_num_threads() // per_row)
    for picture in range(batch):
        for top in starts(0, height, step):
            bottom = min(top + step, height)
            strip = padded(source[picture], top, bottom, columns, scratch)
            target = out[picture, top:bottom]
            whole = (bottom - top) % TILE == width % TILE == 0  # then tiles are written directly into the output
            tiles = multiply(strip, weights, columns, scratch, target if whole else None)
            if bias is not None:
                tiles.add_(bias)
            if rectify:
                tiles.relu_()
            found = tiles[: bottom - top, :width]
            if added is not None:
                torch.add(found, added[picture, top:bottom], out=target)
            elif not whole:
                target.copy_(found)
    return out.permute(0, 3, 1, 2)


def rows_of(x: Tensor) -> Tensor:
    """BxCxHxW as contiguous BxHxWxC; no copy if x is channels last."""
    return x.permute(0, 2, 3, 1).contiguous()


def transformed(weight: Tensor, scratch: Scratch) -> Tensor:
    """KxCx3x3 weights in Winograd's domain: 36xKxC."""
    outputs, inputs = weight.shape[:2]
    both = torch.kron(WEIGHTS, WEIGHTS).float()
    taps = weight.detach().permute(2, 3, 0, 1).reshape(9, outputs * inputs)
    into = scratch.take("weights", SPAN**2, outputs, inputs)
    torch.mm(both, taps, out=into.flatten(1))
    return into


def padded(x: Tensor, top: int, bottom: int, columns: int, scratch: Scratch) -> Tensor:
    """Rows ``top`` to ``bottom`` of HxWxC with a border of one pixel, zero-padded to whole tiles."""
    height, width, channels = x.shape
    rows = ceil((bottom - top) / TILE) * TILE + 2
    strip = scratch.take("strip", rows, columns * TILE + 2, channels)
    first, last = max(top - 1, 0), min(bottom + 1, height)
    before, after = first - top + 1, last - top + 1
    strip[:before].zero_()
    strip[after:].zero_()
    strip[before:after, :1].zero_()
    strip[before:after, width + 1 :].zero_()
    strip[before:after, 1 : width + 1].copy_(x[first:last])
    return strip


def multiply(strip: Tensor, weights: Tensor, columns: int, scratch: Scratch, into: Tensor | None) -> Tensor:
    """A padded strip (4t+2)x(4n+2)xC to its outputs 4tx4nxK, written to ``into`` if given."""
    high, channels = strip.shape[0] // TILE, strip.shape[-1]
    wide, outputs = columns * TILE + 2, weights.shape[1]
    take = scratch.take
    # Rows first, then columns; slices of every fourth place are the inputs of all tiles at once.
    half = take("half", SPAN, high, wide, channels)
    forward(every_fourth(strip, 0, high), half.unbind(0), take("sums", 2, high, wide, channels))
    ready = take("ready", SPAN, SPAN, high, columns, channels)
    forward(every_fourth(half, 2, columns), ready.unbind(1), take("sums", 2, SPAN, high, columns, channels))
    out = take("products", SPAN**2, high * columns, outputs)
    batched_matmul(ready.view(SPAN**2, high * columns, channels), weights, out)
    found = out.view(SPAN, SPAN, high, columns, outputs)
    half = take("half", SPAN, high, columns, TILE, outputs)
    backward(found.unbind(1), half.unbind(3), take("ready", 4, SPAN, high, columns, outputs))
    shape = (high, TILE, columns, TILE, outputs)
    tiles = take("strip", *shape) if into is None else into.view(shape)
    backward(half.unbind(0), tiles.unbind(1), take("ready", 4, high, columns, TILE, outputs))
    return tiles.view(high * TILE, columns * TILE, outputs)


def every_fourth(x: Tensor, dim: int, count: int) -> list[Tensor]:
    """Six views: the first to sixth inputs of ``count`` tiles along a dimension."""
    last = TILE * (count - 1) + 1
    return [x[(slice(None),) * dim + (slice(first, first + last, TILE),)] for first in range(SPAN)]


def forward(d: Sequence[Tensor], out: Sequence[Tensor], sums: Tensor) -> None:
    """Six inputs to Winograd's domain along one direction (the paper's B transposed)."""
    one, two = sums.unbind(0)
    torch.add(d[4], d[2], alpha=-4, out=one)
    torch.add(d[3], d[1], alpha=-4, out=two)
    torch.add(one, two, out=out[1])
    torch.sub(one, two, out=out[2])
    torch.sub(d[4], d[2], out=one)
    torch.sub(d[3], d[1], out=two)
    torch.add(one, two, alpha=2, out=out[3])
    torch.sub(one, two, alpha=2, out=out[4])
    torch.sub(d[0], d[2], out=out[0])
    torch.add(one, out[0], alpha=4, out=out[0])  # 4 d0 - 5 d2 + d4
    torch.sub(d[5], d[3], out=out[5])
    out[5].sub_(two, alpha=4)  # 4 d1 - 5 d3 + d5


def backward(m: Sequence[Tensor], out: Sequence[Tensor], sums: Tensor) -> None:
    """Six products to four outputs, along one direction (the paper's A transposed)."""
    low, low_odd, high, high_odd = sums.unbind(0)
    torch.add(m[1], m[2], out=low)
    torch.sub(m[1], m[2], out=low_odd)
    torch.add(m[3], m[4], out=high)
    torch.sub(m[3], m[4], out=high_odd)
    torch.add(m[0], low, out=out[0])
    out[0].add_(high)
    torch.add(low_odd, high_odd, alpha=2, out=out[1])
    torch.add(low, high, alpha=4, out=out[2])
    torch.add(m[5], low_odd, out=out[3])
    out[3].add_(high_odd, alpha=8)
