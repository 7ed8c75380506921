"""Backbones: ResNets, the MobileNet-v2 of Light-Weight RefineNet, and any timm network that gives feature maps.

A backbone maps a normalised image Bx3xHxW to a list of taps from fine to coarse. Each tap has a stride
(4, 8, 16 or 32); several taps may share one, as in MobileNet-v2.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from refineseg.errors import ConfigError, WeightsError
from refineseg.model import mobilenet
from refineseg.model.memory_saving import InPlaceBatchNorm2d
from refineseg.model.resnet import BOTTLENECKS_FROM, DEPTHS, ResNet

STRIDES = (4, 8, 16, 32)
RELEASED_MOBILENET = "mobilenetv2_released"


class Backbone(nn.Module):
    """Common face of all backbones.

    Attributes:
        channels: channels of each tap, fine to coarse.
        strides: stride of each tap.
        multiple: height and width must divide by it (1 for networks whose convolutions pad by themselves).
        norms_follow_convs: whether each batch norm follows the convolution before it in the order of modules, and
            alone reads what that has made.
        made_from_weights: whether it can be built without memory and then be given its weights; not where it
            computes something else when built.
    """

    channels: list[int]
    strides: list[int]
    multiple: int
    norms_follow_convs: bool = False
    made_from_weights: bool = True

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to the taps, fine to coarse."""
        raise NotImplementedError


class ResNetBackbone(Backbone):
    """The published backbones: 18, 34, 50, 101 or 152 layers, maps at strides 4, 8, 16 and 32."""

    norms_follow_convs = True

    def __init__(self, depth: int, in_channels: int = 3, stride_in_1x1: bool = False) -> None:
        super().__init__()
        self.net = ResNet(depth, in_channels, stride_in_1x1)
        self.channels = list(self.net.channels)
        self.strides = list(STRIDES)
        self.multiple = 1

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to four maps at strides 4, 8, 16 and 32."""
        maps: list[Tensor] = self.net(image)
        return maps


class TimmBackbone(Backbone):
    """Any timm model with feature maps at strides 4, 8, 16 and 32 (ConvNeXt, PVT, Swin, other ResNets ...)."""

    made_from_weights = False

    def __init__(self, name: str, in_channels: int = 3) -> None:
        super().__init__()
        # Here, since it brings torchvision and torch's compiler, which takes longer than segmenting a picture.
        import timm
        from timm.models.resnet import BasicBlock, Bottleneck

        from refineseg.model.memory_saving_timm import use_in_place_norms

        try:
            with torch.device("meta"):
                reductions = list(timm.create_model(name, features_only=True).feature_info.reduction())
            missing = [stride for stride in STRIDES if stride not in reductions]
            if missing:
                raise ConfigError(
                    f"expected a backbone with maps at strides 4, 8, 16 and 32, got {name!r} with {reductions}"
                )
            # Where a stride occurs twice, the last map of it is the deepest. Only these are asked for: a map at
            # stride 2 would be kept until the network is through.
            taps = tuple(len(reductions) - 1 - reductions[::-1].index(stride) for stride in STRIDES)
            net = timm.create_model(
                name, pretrained=False, features_only=True, in_chans=in_channels, out_indices=taps
            )
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"expected the name of a timm model that gives feature maps, got {name!r} ({error}); "
                "timm.list_models() lists the names"
            ) from error
        if any(isinstance(module, BasicBlock | Bottleneck) for module in net.modules()):
            use_in_place_norms(net)  # a ResNet: each of its norms follows a convolution
        self.net = net
        self.channels = list(net.feature_info.channels())
        self.strides = list(STRIDES)
        self.channels_last = "NHWC" in str(getattr(net, "output_fmt", "")).upper()
        # Residual networks pad inside every convolution; patchifying ones drop or refuse the remainder.
        self.multiple = 1 if name.startswith(("resnet", "resnext", "wide_resnet", "seresnet")) else 32

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to four maps at strides 4, 8, 16 and 32."""
        maps = list(self.net(image))
        return [x.permute(0, 3, 1, 2).contiguous() for x in maps] if self.channels_last else maps


class MobileNetV2(Backbone):
    """MobileNet-v2 with the six taps of Light-Weight RefineNet: 24, 32, 64, 96, 160 and 320 channels.

    Key names are timm's ``mobilenetv2_100``. ``released`` adds the 1x1 expansion (32 to 32, batch norm, ReLU6)
    that the released network has in its first inverted residual, and timm and torchvision leave out. Built as
    the identity, so that the same ImageNet weights give the same function in both forms.
    """

    norms_follow_convs = True
    TAPS = ((1, 4), (2, 8), (3, 16), (4, 16), (5, 32), (6, 32))  # (group of blocks, its stride)

    def __init__(self, released: bool = False, in_channels: int = 3) -> None:
        super().__init__()
        self.conv_stem = nn.Conv2d(in_channels, mobilenet.STEM, 3, 2, 1, bias=False)
        self.bn1 = InPlaceBatchNorm2d(mobilenet.STEM)
        self.act1 = nn.ReLU6(inplace=True)
        self.blocks = mobilenet.make_blocks()
        mobilenet.initialise(self)
        self.expand: nn.Module = identity_expansion(mobilenet.STEM) if released else nn.Identity()
        self.channels = [mobilenet.GROUPS[block][1] for block, _ in self.TAPS]
        self.strides = [stride for _, stride in self.TAPS]
        self.multiple = 1

    def maps(self, image: Tensor) -> list[Tensor]:
        """Bx3xHxW to six maps at strides 4, 8, 16, 16, 32 and 32."""
        x = self.expand(self.act1(self.bn1(self.conv_stem(image))))
        tapped = {block for block, _ in self.TAPS}
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in tapped:
                maps.append(x)
        return maps


def identity_expansion(channels: int) -> nn.Sequential:
    """1x1 convolution, batch norm and ReLU6 that pass values in [0, 6] on unchanged."""
    convolution = nn.Conv2d(channels, channels, 1, bias=False)
    norm = InPlaceBatchNorm2d(channels)
    with torch.no_grad():
        convolution.weight.copy_(torch.eye(channels)[:, :, None, None])
        norm.weight.fill_((1 + norm.eps) ** 0.5)
    return nn.Sequential(OrderedDict(conv=convolution, norm=norm, act=nn.ReLU6()))


def create_backbone(name: str, in_channels: int = 3, stride_in_1x1: bool = False) -> Backbone:
    """A backbone by name: ``resnet18`` to 152, ``mobilenetv2_100``, ``mobilenetv2_released``, or one of timm's.

    Raises ConfigError for an unknown name, or ``stride_in_1x1`` with anything but a ResNet of 50 layers or more.
    """
    depth = name.removeprefix("resnet")
    resnet = int(depth) if name != depth and depth.isdecimal() and int(depth) in DEPTHS else 0
    if stride_in_1x1 and resnet < BOTTLENECKS_FROM:
        raise ConfigError(f"expected resnet50, resnet101 or resnet152 with stride_in_1x1, got {name!r}")
    if resnet:
        return ResNetBackbone(resnet, in_channels, stride_in_1x1)
    if name in ("mobilenetv2_100", RELEASED_MOBILENET):
        return MobileNetV2(released=name == RELEASED_MOBILENET, in_channels=in_channels)
    return TimmBackbone(name, in_channels)


def load_backbone_weights(backbone: Backbone, path: str | Path) -> None:
    """Load an ImageNet classifier's weights in timm's or torchvision's key names into a backbone.

    Args:
        backbone: the network to fill.
        path: a safetensors file. Its classifier and head are left out; everything else must fit, and
            everything that the backbone has must be in the file. Where the backbone takes other channels than RGB,
            its first convolution is made from the file's (``fit_stem``).

    Raises:
        WeightsError: the file is missing, not safetensors, or does not fit; the message says which tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"expected a safetensors file with backbone weights, found none at {path}")
    try:
        state = load_file(path)
    except Exception as error:  # safetensors raises its own untyped errors
        raise WeightsError(f"expected a safetensors file, cannot read {path}: {error}") from error
    target: nn.Module = getattr(backbone, "net", backbone)
    own = target.state_dict()
    # timm's feature networks write stages.0 as stages_0: compare names with one separator.
    names = {key.replace(".", "_"): key for key in own}
    state = {names.get(key.replace(".", "_"), key): value for key, value in state.items()}
    # Built as the identity, and absent from ImageNet files.
    optional = {key for key in own if key.startswith("expand.") or key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in state and key not in optional]
    state |= {
        key: fit_stem(value, own[key].shape[1])
        for key, value in state.items()
        if key in own and value.ndim == 4 and value.shape[1] == 3 != own[key].shape[1]
    }
    misfits = [key for key in own if key in state and own[key].shape != state[key].shape]
    left_over = [key for key in state if key not in own and not key.startswith(HEADS)]
    if missing or misfits or left_over:
        raise WeightsError(
            f"{path.name} does not fit the backbone: {len(missing)} tensors missing {missing[:3]}, "
            f"{len(left_over)} left over {left_over[:3]}, {len(misfits)} of another shape {misfits[:3]}; "
            "use a file of this very architecture with timm's key names"
        )
    target.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def fit_stem(weight: Tensor, channels: int) -> Tensor:
    """First convolution Ox3xhxw for another number of channels: Oxchannelsxhxw.

    The filters of red, green and blue are repeated in turn and scaled by 3 / channels, so that responses keep
    their size; for one channel they are summed. timm does the same.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, ceil(channels / 3), 1, 1)[:, :channels] * (3 / channels)


# Tensors of a classifier that no backbone has.
HEADS = ("fc.", "classifier.", "head.", "conv_head.", "bn2.", "norm.")
