"""Backbones: ResNets, the MobileNet-v2 of Light-Weight RefineNet, any timm network with feature maps, any module.

A backbone maps a normalised image BxCxHxW to a list of maps from fine to coarse. Each map has a stride; several
maps may share one, as in MobileNet-v2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from refineseg.errors import ConfigError
from refineseg.model.backbones import mobilenet
from refineseg.model.backbones.resnet import BOTTLENECKS_FROM, DEPTHS, ResNet
from refineseg.model.memory_saving import InPlaceBatchNorm2d
from refineseg.system.plugins import load_plugin

STRIDES = (4, 8, 16, 32)
LARGEST_STRIDE = STRIDES[-1]
RELEASED_MOBILENET = "mobilenetv2_released"
GROUP = "refineseg.backbones"  # group of entry points
CUSTOM = "custom"  # name of a backbone given as a module


class Backbone(nn.Module):
    """Base class of all backbones."""

    channels: list[int]  # channels of each map, fine to coarse
    strides: list[int]  # stride of each map
    multiple: int = 1  # heights and widths must be multiples of it (1 if its convolutions pad by themselves)
    # whether each batch norm is the only reader of the convolution before it, in the order of modules
    norms_follow_convs: bool = False
    # whether it can be built on the meta device and given its weights afterwards; false if building it computes
    # anything else
    made_from_weights: bool = True

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to the maps, fine to coarse."""
        raise NotImplementedError


class ResNetBackbone(Backbone):
    """The published backbones: 18, 34, 50, 101 or 152 layers, maps at strides 4, 8, 16 and 32."""

    norms_follow_convs = True

    def __init__(
        self, depth: int, in_channels: int = 3, stride_in_1x1: bool = False, output_stride: int = LARGEST_STRIDE
    ) -> None:
        super().__init__()
        self.net = ResNet(depth, in_channels, stride_in_1x1, output_stride)
        self.channels = list(self.net.channels)
        self.strides = list(self.net.strides)

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to four maps at strides 4, 8, 16 and 32, or ``output_stride`` at most."""
        maps: list[Tensor] = self.net(image)
        return maps


class MobileNetV2(Backbone):
    """MobileNet-v2 with the six maps of Light-Weight RefineNet: 24, 32, 64, 96, 160 and 320 channels.

    Key names are those of timm's ``mobilenetv2_100``. ``released`` adds the 1x1 expansion (32 to 32, batch norm,
    ReLU6) that the released network has in its first inverted residual, unlike timm and torchvision. It is
    initialised as the identity, so that ImageNet weights give the same function in both forms.
    """

    norms_follow_convs = True
    MAPPED = (1, 2, 3, 4, 5, 6)  # groups of blocks whose outputs are the maps

    def __init__(self, released: bool = False, in_channels: int = 3, output_stride: int = LARGEST_STRIDE) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(in_channels, mobilenet.STEM, 3, 2, 1, bias=False)
        self.bn1 = InPlaceBatchNorm2d(mobilenet.STEM)
        self.act1 = nn.ReLU6(inplace=True)
        self.blocks, strides = mobilenet.make_blocks(output_stride)
        mobilenet.initialise(self)
        self.expand: nn.Module = identity_expansion(mobilenet.STEM) if released else nn.Identity()
        self.channels = [mobilenet.GROUPS[block][1] for block in self.MAPPED]
        self.strides = [strides[block] for block in self.MAPPED]

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to six maps at strides 4, 8, 16, 16, 32 and 32, or ``output_stride`` at most."""
        x = self.expand(self.act1(self.bn1(self.conv_stem(image))))
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.MAPPED:
                maps.append(x)
        return maps


class ModuleBackbone(Backbone):
    """Any module that returns feature maps.

    Args:
        net: module from BxCxHxW to a list, tuple or dictionary of maps from fine to coarse.
        channels: channels of each map; None reads ``net.channels``.
        strides: stride of each map; None reads ``net.strides``.
        in_channels: channels of the image.

    Height and width are padded to a multiple of ``net.multiple``, if there is one, else of the largest stride.

    Raises ConfigError if a trial run on a small picture returns other maps.
    """

    made_from_weights = False

    def __init__(
        self,
        net: nn.Module,
        channels: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        name = type(net).__name__
        found: list[Any] = [getattr(net, "channels", None) if channels is None else channels]
        found.append(getattr(net, "strides", None) if strides is None else strides)
        if not all(isinstance(values, list | tuple) and values for values in found):
            raise ConfigError(
                f"expected channels and strides of the maps of {name}: pass both, or set them as attributes"
            )
        self.net = net
        self.channels, self.strides = (list(map(int, values)) for values in found)
        self.multiple = int(getattr(net, "multiple", max(self.strides)))
        self._try(in_channels, name)

    def maps(self, image: Tensor) -> list[Tensor]:
        """BxCxHxW to the maps, fine to coarse."""
        maps = self.net(image)
        return list(maps.values()) if isinstance(maps, Mapping) else list(maps)

    @torch.no_grad()
    def _try(self, in_channels: int, name: str) -> None:
        weights = next(self.net.parameters(), torch.zeros(()))
        training = self.net.training
        size = (2 * self.multiple, 3 * self.multiple)
        image = torch.zeros(1, in_channels, *size, dtype=weights.dtype, device=weights.device)
        try:
            shapes = [tuple(x.shape[1:]) for x in self.eval().maps(image)]
        except Exception as error:  # a foreign module may raise any error
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(f"cannot run {name} on a picture of {size[0]}x{size[1]}: {reason:.200}") from error
        finally:
            self.net.train(training)
        expected = [
            (count, *(-(-side // stride) for side in size))
            for count, stride in zip(self.channels, self.strides, strict=False)
        ]
        if shapes != expected or len(self.channels) != len(self.strides):
            raise ConfigError(
                f"expected {name} to return maps with channels {self.channels} and strides {self.strides}, for "
                f"{size[0]}x{size[1]} {expected}, got {shapes}"
            )


def identity_expansion(channels: int) -> nn.Sequential:
    """1x1 convolution, batch norm and ReLU6 that leave values in [0, 6] unchanged."""
    convolution = nn.Conv2d(channels, channels, 1, bias=False)
    norm = InPlaceBatchNorm2d(channels)
    with torch.no_grad():
        convolution.weight.copy_(torch.eye(channels)[:, :, None, None])
        norm.weight.fill_((1 + norm.eps) ** 0.5)
    return nn.Sequential(OrderedDict(conv=convolution, norm=norm, act=nn.ReLU6()))


def create_backbone(
    name: str, in_channels: int = 3, stride_in_1x1: bool = False, output_stride: int = LARGEST_STRIDE
) -> Backbone:
    """A backbone by name: ``resnet18`` to 152, ``mobilenetv2_100``, ``mobilenetv2_released``, plugins or timm's.

    Beyond ``output_stride``, strides are replaced by dilation, as in DeepLab: the dilated network has the values
    of the strided one, and others between them.

    A plugin is an entry point of ``refineseg.backbones``: a callable from the number of channels to a module for
    ``ModuleBackbone``.

    Raises ConfigError for an unknown name, a network of one picture size, ``stride_in_1x1`` with anything but a
    ResNet of 50 layers or more, or an ``output_stride`` below 32 with a network that cannot be dilated.
    """
    resnet = {f"resnet{depth}": depth for depth in DEPTHS}.get(name, 0)
    if stride_in_1x1 and resnet < BOTTLENECKS_FROM:
        raise ConfigError(f"expected resnet50, resnet101 or resnet152 with stride_in_1x1, got {name!r}")
    if resnet:
        return ResNetBackbone(resnet, in_channels, stride_in_1x1, output_stride)
    if name in ("mobilenetv2_100", RELEASED_MOBILENET):
        return MobileNetV2(
            released=name == RELEASED_MOBILENET, in_channels=in_channels, output_stride=output_stride
        )
    if name == CUSTOM:
        raise ConfigError("expected the module itself for a backbone of your own: backbone=MODULE")
    make = load_plugin(GROUP, name)
    if make is not None:
        if output_stride != LARGEST_STRIDE:
            raise ConfigError(f"expected output_stride 32 with the backbone {name!r}, got {output_stride}")
        return ModuleBackbone(make(in_channels), in_channels=in_channels)
    # Imported here: timm brings torchvision and torch's compiler, which takes longer than segmenting a picture.
    from refineseg.model.backbones.timm_backbone import TimmBackbone

    return TimmBackbone(name, in_channels, output_stride)
