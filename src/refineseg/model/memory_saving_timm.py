"""Batch norm that works in place, for networks of timm, which has a norm of its own."""

from __future__ import annotations

from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from refineseg.model.memory_saving import InPlaceBatchNorm2d, scale_in_place, stands_still


class InPlaceBatchNormAct2d(BatchNormAct2d):  # type: ignore[misc]  # timm has no types
    """The same for timm's batch norm with activation."""

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is used up if the weights are frozen or no gradient is recorded."""
        if not stands_still(self):
            normal: Tensor = super().forward(x)
            return normal
        activated: Tensor = self.act(self.drop(scale_in_place(self, x)))
        return activated


def use_in_place_norms(network: nn.Module) -> None:
    """Every batch norm of a network in which each follows a convolution; names of weights stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = InPlaceBatchNorm2d
        elif type(module) is BatchNormAct2d:
            module.__class__ = InPlaceBatchNormAct2d
