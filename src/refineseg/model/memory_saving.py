"""Frozen batch norm and 5x5 max-pooling that take less memory than torch's and give the same results.

Wherever a graph is recorded (export, compilation, tracing), torch's own are used, so that exported files have the
usual nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

KERNEL, REACH = 5, 2
# Bytes of a strip: small enough for a core's cache; on a GPU large enough to be worth a launch.
STRIP_BYTES = {"cpu": 1 << 20, "cuda": 1 << 26}
# Set while memory is estimated (model.memory): no strip needs more memory than the first.
FIRST_STRIP_ONLY: ContextVar[bool] = ContextVar("FIRST_STRIP_ONLY", default=False)


class InPlaceBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that works in place while its statistics and weights are frozen.

    For norms that are the only reader of a convolution's output. Torch's own creates a second map, and in
    training keeps the first for the gradient of weights that are frozen.
    """

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is overwritten if the weights are frozen or no gradient is recorded."""
        return scale_in_place(self, x) if is_frozen(self) else super().forward(x)


def run_steps(steps: Iterable[Callable[[Tensor], Tensor]], maps: list[Tensor]) -> Tensor:
    """Apply ``steps`` in turn to the first of ``maps``, which is removed from the list.

    Each step's input is freed when the step is done; nn.Sequential would keep the first one until the end.
    """
    held = [maps.pop(0)]
    for step in steps:
        held.append(step(held.pop()))
    return held.pop()


def is_frozen(norm: nn.BatchNorm2d) -> bool:
    """Whether the norm is a fixed scale and shift in this call."""
    trained = torch.is_grad_enabled() and norm.weight is not None and norm.weight.requires_grad
    return not (norm.training or trained or norm.running_var is None or norm.weight is None or is_recording())


def scale_in_place(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, in x."""
    assert norm.running_var is not None  # checked by is_frozen
    assert norm.running_mean is not None
    scale = norm.weight.detach() * torch.rsqrt(norm.running_var + norm.eps)
    shift = norm.bias.detach() - norm.running_mean * scale
    return x.mul_(scale[:, None, None]).add_(shift[:, None, None])


def is_recording() -> bool:
    """Whether a graph is being recorded."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return traced or torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export()


def max_pool5(x: Tensor) -> Tensor:
    """5x5 max-pooling of stride 1 that keeps height and width.

    Torch's own also creates a map of int64 positions, twice as large as the float32 map. Here there is none
    without a gradient; with one, positions are kept as int16 distances, and the input is not kept.
    """
    if is_recording():
        return F.max_pool2d(x, KERNEL, 1, REACH)
    if torch.is_grad_enabled() and x.requires_grad:
        pooled: Tensor = _MaxPool5.apply(x)
        return pooled
    out = torch.empty_like(x)
    for top, bottom, rows in pooled_strips(x):
        out[..., top:bottom, :] = rows
        del rows  # free it before the next strip is made
    return out


def pooled_strips(x: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """5x5 max-pooling of BxCxHxW in strips that stay in the cache: first row, row after the last, and the strip.

    The maximum of 2, 4 and 5 rows, then of columns, takes 6 comparisons instead of 24. Rows of x may be
    overwritten once their strip has been yielded.
    """
    batch, channels, height, width = x.shape
    row = x.element_size() * batch * channels * width
    rows = max(REACH, STRIP_BYTES.get(x.device.type, 1 << 20) // max(1, row))
    above: Tensor | None = None
    for top in starts(0, height, rows):
        bottom = min(top + rows, height)
        border = (REACH, REACH, REACH, max(0, bottom + REACH - height))
        strip = F.pad(x[..., top : bottom + REACH, :], border, value=float("-inf"))
        if above is not None:
            strip[..., :REACH, :] = above
        above = strip[..., bottom - top : bottom - top + REACH, :].clone()  # a view would keep the whole strip
        strip = _largest_of_five(_largest_of_five(strip, -2), -1)
        yield top, bottom, strip
        del strip


def _largest_of_five(x: Tensor, dim: int) -> Tensor:
    """The maximum of each value and the four after it along a dimension, which becomes 4 shorter."""
    size = x.shape[dim]
    two = torch.maximum(x.narrow(dim, 0, size - 1), x.narrow(dim, 1, size - 1))
    four = torch.maximum(two.narrow(dim, 0, size - 4), two.narrow(dim, 2, size - 4))
    return torch.maximum(four, x.narrow(dim, 4, size - 4), out=four)


def starts(top: int, bottom: int, step: int) -> range:
    """The first row of each strip of ``step`` rows between ``top`` and ``bottom``; see ``FIRST_STRIP_ONLY``."""
    rows = range(top, bottom, step)
    return rows[:1] if FIRST_STRIP_ONLY.get() else rows


class _MaxPool5(torch.autograd.Function):
    """Torch's 5x5 max-pooling, which keeps only the place of each maximum, as a distance of 2 bytes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out, positions = torch.ops.aten.max_pool2d_with_indices(x, [KERNEL] * 2, [1, 1], [REACH] * 2)
        # At most 2 rows and 2 columns away: 2 * width + 2.
        small = torch.int16 if x.shape[-1] < 16_000 else torch.int32
        ctx.save_for_backward(positions.sub_(_numbered(x)).to(small))
        return out  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        (distances,) = ctx.saved_tensors
        positions = distances.long().add_(_numbered(gradient))
        # Only the size of the input is read, which is also the output's.
        return torch.ops.aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
            gradient, gradient, [KERNEL] * 2, [1, 1], [REACH] * 2, [1, 1], False, positions
        )


def _numbered(x: Tensor) -> Tensor:
    """HxW: torch's pooling index of each position."""
    height, width = x.shape[-2:]
    return torch.arange(height * width, device=x.device).view(height, width)
