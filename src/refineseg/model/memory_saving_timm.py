"""In-place batch norm for timm's networks, which have their own class of norm."""

from __future__ import annotations

from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from refineseg.model.memory_saving import InPlaceBatchNorm2d, is_frozen, scale_in_place


class InPlaceBatchNormAct2d(BatchNormAct2d):  # type: ignore[misc]  # timm has no types
    """``InPlaceBatchNorm2d`` for timm's batch norm with activation."""

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is overwritten if the weights are frozen or no gradient is recorded."""
        if not is_frozen(self):
            normal: Tensor = super().forward(x)
            return normal
        activated: Tensor = self.act(self.drop(scale_in_place(self, x)))
        return activated


def use_in_place_norms(network: nn.Module) -> None:
    """Make all batch norms of a network work in place; each must follow a convolution. Key names are kept."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = InPlaceBatchNorm2d
        elif type(module) is BatchNormAct2d:
            module.__class__ = InPlaceBatchNormAct2d
