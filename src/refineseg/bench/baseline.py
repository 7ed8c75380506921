"""The baseline of docs/speed.md: the network as the older PyTorch ports run it, eager.

Channels first, separate batch norm, max-pooling with an index map, logits upsampled to full size before the
argmax. Same weights and labels.
"""

from __future__ import annotations

import copy

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model.backbones.timm_backbone import InPlaceBatchNormAct2d
from refineseg.model.blocks import ChainedResidualPooling
from refineseg.model.memory_saving import InPlaceBatchNorm2d
from refineseg.model.refinenet import RefineNet


class PlainPooling(ChainedResidualPooling):
    """Chained residual pooling with torch's max-pooling."""

    def pool(self, x: Tensor) -> Tensor:
        """5x5 max-pooling that keeps height and width."""
        return F.max_pool2d(x, 5, 1, 2)


TORCH_CLASSES: dict[type, type] = {
    InPlaceBatchNorm2d: nn.BatchNorm2d,
    InPlaceBatchNormAct2d: BatchNormAct2d,
    ChainedResidualPooling: PlainPooling,
}


def baseline_network(model: RefineNet) -> RefineNet:
    """A copy of the network as the baseline."""
    result = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for part in result.modules():
        if type(part) in TORCH_CLASSES:
            part.__class__ = TORCH_CLASSES[type(part)]
    return result
