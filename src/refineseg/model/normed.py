"""Batch norm after the decoder's convolutions: an option beside the published network, which has none.

With it a decoder is trained in fewer steps (docs/peers.md). For prediction it is folded into the convolutions, so
that it costs nothing.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_weights

from refineseg.model.frugal import FrugalBatchNorm2d


class NormedConv(nn.Sequential):
    """A convolution and its batch norm."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__(convolution, FrugalBatchNorm2d(convolution.out_channels))

    def folded(self) -> nn.Conv2d:
        """One convolution for both, in evaluation mode; with weights of its own."""
        convolution, norm = cast(nn.Conv2d, self[0]), cast(nn.BatchNorm2d, self[1])
        result = copy.deepcopy(convolution)
        statistics: Any = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        result.weight, result.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
        result.weight.data = result.weight.data.contiguous(memory_format=torch.channels_last)
        return result


def add_norms(module: nn.Module) -> None:
    """Put a batch norm after every convolution."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(module, name, NormedConv(child))
        else:
            add_norms(child)


def fold_norms(module: nn.Module) -> None:
    """Replace every convolution with a norm by one convolution."""
    for name, child in list(module.named_children()):
        if isinstance(child, NormedConv):
            setattr(module, name, child.folded())
        else:
            fold_norms(child)
