"""The published layout, eager: what every figure of docs/speed.md is a multiple of.

The network as the older PyTorch ports run it: channels first, batch norm by itself, ReLU and sums into new memory, max-pooling with its index
map, logits upsampled to full size and then the largest taken. Same weights, same labels.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model.blocks import ChainedResidualPooling, ResidualConvUnit
from refineseg.model.refinenet import RefineNet


class PublishedUnit(nn.Module):
    """A residual conv unit in new memory at every step."""

    def __init__(self, unit: ResidualConvUnit) -> None:
        super().__init__()
        self.conv1, self.conv2 = unit.conv1, unit.conv2

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW."""
        result: Tensor = self.conv2(F.relu(self.conv1(F.relu(x)))) + x
        return result


class PublishedPooling(nn.Module):
    """Chained residual pooling with torch's max-pooling."""

    def __init__(self, chain: ChainedResidualPooling) -> None:
        super().__init__()
        self.activation, self.convs, self.original = chain.activation, chain.convs, chain.pooling == "original"

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW."""
        x = self.activation(x)
        stage = x
        for convolution in self.convs:
            if self.original:
                stage = convolution(F.max_pool2d(stage, 5, 1, 2))
            else:
                stage = F.max_pool2d(convolution(stage), 5, 1, 2)
            x = x + stage
        return x


def published(model: RefineNet) -> RefineNet:
    """A copy of the network in the published layout."""
    result = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    _replace(result)
    return result


def _replace(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, ResidualConvUnit):
            setattr(module, name, PublishedUnit(child))
        elif isinstance(child, ChainedResidualPooling):
            setattr(module, name, PublishedPooling(child))
        else:
            _replace(child)
