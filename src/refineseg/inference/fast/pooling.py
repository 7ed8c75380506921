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
    """Fast form of a pooling chain: it overwrites its input, and needs one more map for more than one stage."""

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
            last = convolution is self.convs[-1]
            if not self.pools_first:
                stage = max_pool5(convolution(stage))
            elif convolution.convolution.kernel_size == (1, 1):
                stage = self._in_strips(stage, convolution, total, last)
                continue
            else:
                stage = convolution(max_pool5(stage))
            total.add_(stage)
        return total

    def _in_strips(self, x: Tensor, convolution: FusedConv, total: Tensor, last: bool) -> Tensor:
        """Pool and convolve x and add the result to ``total``, which may be x.

        Returns the result for the next stage, in x unless that is ``total``; nothing of use if this is the last.
        """
        out = torch.empty_like(x) if x is total and not last else x
        for top, bottom, rows in pooled_strips(x):  # what follows no longer needs these rows of x
            made = convolution(rows)
            total[..., top:bottom, :].add_(made)
            if not last:
                out[..., top:bottom, :] = made
            del rows, made  # free them before the next strip is made
        return out
