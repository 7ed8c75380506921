"""Convolutions fused with a sum and an activation, and the blocks of backbones and decoder built from them.

oneDNN can do both while it writes a convolution's output, through operations that torch uses for compiled graphs.
They are not part of torch's public interface, so they are tried once; where they are missing or give a different
result, convolution, sum and activation run one after the other.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from refineseg.inference.fast.winograd import Scratch, convolve, is_faster
from refineseg.model.backbones.resnet import ResNetBlock
from refineseg.model.blocks import ResidualConvUnit
from refineseg.model.memory_saving import FIRST_STRIP_ONLY

Activation = Literal["none", "relu", "relu6"]
FUSED: dict[str, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}
KEPT = ("kernel_size", "stride", "padding", "dilation", "padding_mode")  # settings without channels


class FusedConv(nn.Module):
    """A convolution, a sum and an activation: by Winograd's algorithm, fused by oneDNN, or one after the other.

    Args:
        convolution: the convolution; its weights are read at every call.
        activation: activation after convolution and sum.
        scratch: buffers that are reused between calls.
    """

    def __init__(self, convolution: nn.Conv2d, activation: Activation, scratch: Scratch) -> None:
        super().__init__()
        self.convolution, self.activation, self.scratch = convolution, activation, scratch

    def forward(self, x: Tensor, into: Tensor | None = None) -> Tensor:
        """activation(convolution(x) + into), BxCxHxW to BxKxhxw; ``into``, if given, is overwritten."""
        convolution, last = self.convolution, self.activation
        if is_faster(convolution, *x.shape[-2:]):
            first = last == "relu" and into is None
            y = convolve(x, convolution, self.scratch, rectify=first, residual=into)
            return y if first else rectify_(y, last)  # strips can only rectify before the sum
        planned = FIRST_STRIP_ONLY.get()  # fake tensors: only torch's public operations take them
        if into is None:
            if planned or not can_fuse():
                return rectify_(convolution(x), last)
            fused = torch.ops.mkldnn._convolution_pointwise
            result: Tensor = fused(x, *_described(convolution), *FUSED[last], "")
            return result
        if planned:
            return into
        ordered = all(y.is_contiguous(memory_format=torch.channels_last) for y in (x, into))
        if last == "relu6" or not ordered or not can_fuse():
            return rectify_(into.add_(convolution(x)), last)
        adding = torch.ops.mkldnn._convolution_pointwise_.binary
        after = None if last == "none" else last
        added: Tensor = adding(into, x, *_described(convolution), "add", 1.0, after, [], None)
        return added


def rectify_(x: Tensor, activation: Activation) -> Tensor:
    """The activation, in place."""
    if activation == "none":
        return x
    return x.relu_() if activation == "relu" else nn.functional.hardtanh_(x, 0.0, 6.0)


def _described(convolution: nn.Conv2d) -> tuple[Any, ...]:
    """Weights and settings as arguments of oneDNN's operations."""
    padding = convolution.padding
    if isinstance(padding, str):
        sides = convolution.kernel_size
        padding = (sides[0] // 2, sides[1] // 2) if padding == "same" else (0, 0)
    settings = (padding, convolution.stride, convolution.dilation, convolution.groups)
    return (convolution.weight, convolution.bias, *settings)


def fusable(convolution: nn.Module) -> bool:
    """Whether it is a plain convolution that oneDNN's operations can express."""
    if type(convolution) is not nn.Conv2d or convolution.padding_mode != "zeros":
        return False
    centred = all(side % 2 for side in convolution.kernel_size) and set(convolution.dilation) == {1}
    return convolution.padding != "same" or centred


@cache
def can_fuse() -> bool:
    """Whether this build of torch has both operations and their results are right."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        x = torch.randn(1, 8, 5, 6, generator=generator).contiguous(memory_format=torch.channels_last)
        weight, bias = torch.randn(8, 8, 1, 1, generator=generator), torch.randn(8, generator=generator)
        plain = nn.functional.conv2d(x, weight, bias)
        settings = (weight, bias, (0, 0), (1, 1), (1, 1), 1)
        try:
            alone = torch.ops.mkldnn._convolution_pointwise(x, *settings, *FUSED["relu6"], "")
            into = x.clone(memory_format=torch.channels_last)
            added = torch.ops.mkldnn._convolution_pointwise_.binary(
                into, x, *settings, "add", 1.0, "relu", [], None
            )
        except (AttributeError, TypeError, RuntimeError):
            return False
        same = torch.allclose(alone, plain.clamp(0, 6), atol=1e-4) and torch.allclose(into, added)
        return same and torch.allclose(added, (plain + x).relu(), atol=1e-4)


class FastUnit(nn.Module):
    """Fast form of a residual conv unit."""

    def __init__(self, unit: ResidualConvUnit, scratch: Scratch) -> None:
        super().__init__()
        self.first = FusedConv(unit.conv1, "relu", scratch)
        self.second = FusedConv(unit.conv2, "none", scratch)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        y: Tensor = self.second(self.first(x.relu()))
        return y.add_(x)


class FastResidual(nn.Module):
    """Fast form of a ResNet block with folded norms. Without a downsampling convolution it overwrites its input.

    No other module reads that input: the maps that a ResNet returns are inputs of blocks with such a convolution.
    """

    def __init__(self, block: ResNetBlock, scratch: Scratch) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            FusedConv(convolution_of(block, f"conv{index}"), "relu", scratch)
            for index in range(1, block.layers + 1)
        )
        shortcut = None if block.downsample is None else convolution_of(block.downsample, "0")
        self.shortcut = None if shortcut is None else FusedConv(shortcut, "none", scratch)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxhxw."""
        *first, last = self.convs
        y = x
        for part in first:
            y = part(y)
        result: Tensor = last(y, x if self.shortcut is None else self.shortcut(x))
        return result


def convolution_of(parent: nn.Module, name: str) -> nn.Conv2d:
    """The convolution of this name."""
    part = parent.get_submodule(name)
    assert isinstance(part, nn.Conv2d)
    return part


def with_weights(convolution: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A convolution of the same settings with other weights, which may have fewer channels."""
    groups = max(1, convolution.groups * len(weight) // convolution.out_channels)
    settings = {name: getattr(convolution, name) for name in KEPT}
    made = nn.Conv2d(
        weight.shape[1] * groups, len(weight), groups=groups, bias=bias is not None, device="meta", **settings
    )
    made.weight = nn.Parameter(weight, requires_grad=False)
    made.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return made.train(convolution.training)
