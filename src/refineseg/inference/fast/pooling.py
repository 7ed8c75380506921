"""Chained residual pooling for inference: strips are pooled, convolved and added while they are in the cache."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from refineseg.inference.fast.convolution import FusedConv
from refineseg.inference.fast.winograd import Scratch
from refineseg.model.blocks import ChainedResidualPooling
from refineseg.model.memory_saving import max_pool5, pooled_strips


class FastPooling(nn.Module):
    """Fast form of a pooling chain: it overwrites its input and needs one more map of that size."""

    def __init__(self, chain: ChainedResidualPooling, scratch: Scratch) -> None:
        super().__init__()
        self.pools_first = chain.pooling == "original"
        activation = type(chain.activation)
        self.activation = activation(inplace=True) if activation in (nn.ReLU, nn.ReLU6) else chain.activation
        self.convs = [FusedConv(cast(nn.Conv2d, part), "none", scratch) for part in chain.convs]
        self.parts = nn.ModuleList(self.convs)

    def forward(self, total: Tensor) -> Tensor:
        """BxCxHxW, channels last, to the same shape; in place."""
        total = stage = self.activation(total)
        for convolution in self.convs:
            if not self.pools_first:
                stage = max_pool5(convolution(stage))
            elif convolution.convolution.kernel_size == (1, 1):
                stage = self._in_strips(stage, convolution, total)
                continue
            else:
                stage = convolution(max_pool5(stage))
            total.add_(stage)
        return total

    def _in_strips(self, x: Tensor, convolution: FusedConv, total: Tensor) -> Tensor:
        """Pool and convolve x and add the result to ``total``; returns the result, in x unless x is ``total``."""
        first = x is total  # then all rows must be pooled before anything is added
        out = torch.empty_like(x) if first else x
        for top, bottom, rows in pooled_strips(x):
            made = convolution(rows)
            out[..., top:bottom, :] = made
            if not first:
                total[..., top:bottom, :].add_(made)
            del rows, made  # free them before the next strip is made
        if first:
            total.add_(out)
        return out
