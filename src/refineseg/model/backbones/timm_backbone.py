"""Backbones from timm: any network for pictures of any size with feature maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.layers import BatchNormAct2d
from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from refineseg.errors import ConfigError
from refineseg.model.backbones.backbone import LARGEST_STRIDE, STRIDES, Backbone
from refineseg.model.memory_saving import InPlaceBatchNorm2d, is_frozen, scale_in_place

# Candidate divisors of height and width: the largest stride, times the side of attention windows at that stride.
MULTIPLES = (32, 64, 128, 192, 224, 256, 384, 512)


class TimmBackbone(Backbone):
    """A timm model (ConvNeXt, PVT, Swin, MaxViT, other ResNets ...).

    Raises ConfigError for an unknown name, other strides, a network of one picture size, or an ``output_stride``
    that timm cannot give it.
    """

    made_from_weights = False

    def __init__(self, name: str, in_channels: int = 3, output_stride: int = LARGEST_STRIDE) -> None:
        super().__init__()
        with torch.device("meta"):
            trial = create(name)
        reductions = list(trial.feature_info.reduction())
        if not set(STRIDES) <= set(reductions):
            plain = "; plain vision transformers go with refinenet-dpt" if len(set(reductions)) == 1 else ""
            raise ConfigError(
                f"expected a backbone with maps at strides 4, 8, 16 and 32, got {name!r} with {reductions}{plain}"
            )
        # Where a stride occurs twice, the last map of it is the deepest. Only these are taken: a map at stride 2
        # would be kept until the whole network has run.
        chosen = tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES)
        # Residual networks pad inside every convolution; patchifying ones drop or refuse the remainder.
        pads = name.startswith(("resnet", "resnext", "wide_resnet", "seresnet"))
        self.multiple = 1 if pads else multiple_of(name, trial)
        dilated = {} if output_stride == LARGEST_STRIDE else {"output_stride": output_stride}
        net = create(name, in_chans=in_channels, out_indices=chosen, **dilated)
        if max(net.feature_info.reduction()) > output_stride:  # some releases of timm ignore the option
            raise not_dilated(name, output_stride)
        if any(isinstance(module, BasicBlock | Bottleneck) for module in net.modules()):
            use_in_place_norms(net)  # a ResNet: each of its norms follows a convolution
        self.net = net
        self.channels = list(net.feature_info.channels())
        self.strides = list(net.feature_info.reduction())
        self.channels_last = "NHWC" in str(getattr(net, "output_fmt", "")).upper()

    def maps(self, image: Tensor) -> list[Tensor]:
        """BxCxHxW to four maps at strides 4, 8, 16 and 32, or ``output_stride`` at most."""
        maps = list(self.net(image))
        return [x.permute(0, 3, 1, 2).contiguous() for x in maps] if self.channels_last else maps


def create(name: str, **options: Any) -> Any:
    """timm's feature network of that name, with random weights; for any picture size if timm allows it (Swin).

    Raises ConfigError if timm has no such network, or cannot give it the ``output_stride``.
    """
    options = {"pretrained": False, "features_only": True} | options
    try:
        try:
            return of_any_size(name, options)
        except NotImplementedError:  # a RegNet computes its widths, for which torch may have no meta kernel
            with torch.device("cpu"):
                made = of_any_size(name, options)
            return made.to(torch.get_default_device())
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        if "output_stride" in options and ("output_stride" in str(error) or isinstance(error, AssertionError)):
            raise not_dilated(name, options["output_stride"]) from error
        raise ConfigError(
            f"expected the name of a timm model that gives feature maps, got {name!r} ({error}); "
            "timm.list_models() lists the names"
        ) from error


def not_dilated(name: str, output_stride: int) -> ConfigError:
    """The error for a network that timm builds with its own strides only."""
    return ConfigError(f"expected output_stride 32 with {name}, which timm cannot dilate, got {output_stride}")


def of_any_size(name: str, options: dict[str, Any]) -> Any:
    """timm's network, without its check of the picture's size if it has one."""
    try:
        return timm.create_model(name, strict_img_size=False, **options)
    except TypeError as error:
        if "strict_img_size" not in str(error):
            raise
    return timm.create_model(name, **options)


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


def multiple_of(name: str, trial: nn.Module) -> int:
    """The smallest of ``MULTIPLES`` whose multiples the network takes, found by trial runs on the meta device.

    Raises ConfigError if the network takes pictures of one size only.
    """
    trial.eval()
    reason: Exception | None = None
    for multiple in MULTIPLES:
        try:
            with torch.no_grad():
                trial(torch.zeros(1, 3, 3 * multiple, 2 * multiple, device="meta"))
        except Exception as error:  # timm's networks refuse sizes in many ways
            reason = reason or error
        else:
            return multiple
    raise ConfigError(
        f"expected a backbone that takes pictures of any size, got {name!r}: Swin, ConvNeXt, PVT-v2 and MaxViT do"
    ) from reason
