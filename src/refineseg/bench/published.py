"""The published layout, eager: what every figure of docs/speed.md is a multiple of.

The network as the older PyTorch ports run it: channels first, batch norm by itself, ReLU and sums into new memory,
max-pooling with its index map, logits upsampled to full size and then the largest taken. Same weights and labels.
"""

from __future__ import annotations

import copy

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model.blocks import ChainedResidualPooling, ResidualConvUnit, as_list
from refineseg.model.memory_saving import FrugalBatchNorm2d
from refineseg.model.memory_saving_timm import FrugalBatchNormAct2d
from refineseg.model.refinenet import RefineNet

TORCHS_OWN: dict[type, type] = {FrugalBatchNorm2d: nn.BatchNorm2d, FrugalBatchNormAct2d: BatchNormAct2d}


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

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """BxCxHxW to BxCxHxW."""
        total: Tensor = self.activation(as_list((x,), 1)[0])
        stage = total
        for convolution in self.convs:
            if self.original:
                stage = convolution(F.max_pool2d(stage, 5, 1, 2))
            else:
                stage = F.max_pool2d(convolution(stage), 5, 1, 2)
            total = total + stage
        return total


def published(model: RefineNet) -> RefineNet:
    """A copy of the network in the published layout."""
    result = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    _replace(result)
    for part in result.modules():
        if type(part) in TORCHS_OWN:
            part.__class__ = TORCHS_OWN[type(part)]
    return result


def _replace(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, ResidualConvUnit):
            setattr(module, name, PublishedUnit(child))
        elif isinstance(child, ChainedResidualPooling):
            setattr(module, name, PublishedPooling(child))
        else:
            _replace(child)
