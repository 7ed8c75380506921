"""RefineNet: a backbone per input scale, a cascade of RefineNet blocks from coarse to fine, and a classifier.

Shapes: images BxCxHxW, RGB in [0, 1]; logits at stride 4 BxKxceil(H/4)xceil(W/4); logits BxKxHxW.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import ModelConfig, scaled
from refineseg.model.backbones.backbone import Backbone, create_backbone
from refineseg.model.blocks import RefineNetBlock, ResidualConvUnit, conv
from refineseg.model.resize import bicubic, bilinear

# Number of strides per block (the paper's Fig. 7, with four strides); 0 means all of them.
CASCADES = {"four": 1, "two": 2, "single": 0}
ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6}
DROPOUT_ABOVE = 512  # channels: only the wide backbone maps have dropout


class Decoder(nn.Module):
    """The cascade: one RefineNet block per group of strides, each taking the output of the coarser one.

    Args:
        config: the settings of the blocks.
        channels: channels of each backbone map, over all backbones.
        strides: stride of each of these maps. The published networks have four different strides; any number is
            grouped in the same way from coarse to fine.
        steps: distance of each map's cells in pixels of the largest scaled input, for ``exact_strides``; default:
            the strides.
    """

    def __init__(
        self,
        config: ModelConfig,
        channels: Sequence[int],
        strides: Sequence[int],
        steps: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        steps = strides if steps is None else steps
        if len(channels) != len(strides):
            raise ValueError(f"expected one stride per map ({len(channels)}), got {len(strides)}")
        levels = sorted(set(strides), reverse=True)
        size = CASCADES[config.cascade] or len(levels)
        groups: list[list[int]] = []
        self.dropped = [count > DROPOUT_ABOVE for count in channels]
        self.dropout = nn.Dropout(config.backbone_dropout)
        self.blocks = nn.ModuleList()
        refined: list[int] = []
        coarser: list[int] = []  # step of the coarser block's output
        for group in (levels[start : start + size] for start in range(0, len(levels), size)):
            # Coarse to fine within a block too; maps of one stride keep the order of the backbones.
            taken = sorted((i for i, stride in enumerate(strides) if stride in group), key=lambda i: -strides[i])
            block = RefineNetBlock(
                [channels[i] for i in taken],
                [config.coarse_width if strides[i] == levels[0] else config.width for i in taken],
                refined,
                rcus=config.rcus,
                refined_rcus=config.refined_rcus,
                crp_stages=config.crp_stages,
                pooling=config.pooling,
                output_rcus=config.output_rcus,
                kernel_size=config.kernel_size,
                lateral_fusion=config.lateral_fusion,
                activation=ACTIVATIONS[config.activation],
                align_corners=config.align_corners,
                strides=[steps[i] for i in taken] + coarser if config.exact_strides else None,
                upsampling=config.upsampling,
            )
            refined, coarser = [block.out_channels], [min(steps[i] for i in taken)]
            groups.append(taken)
            self.blocks.append(block)
        self.groups = tuple(tuple(group) for group in groups)  # positions of the maps that each block takes
        self.out_channels = refined[0]

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Backbone maps to the finest block's output. A list is emptied, so that maps are freed when used."""
        if len(maps) != len(self.dropped):
            raise ValueError(f"expected {len(self.dropped)} maps in the order of the constructor, got {len(maps)}")
        waiting = dict(enumerate(maps))
        if isinstance(maps, list):
            maps.clear()
        refined: list[Tensor] = []
        for taken, block in zip(self.groups, self.blocks, strict=True):
            inputs = [self.dropout(waiting.pop(i)) if self.dropped[i] else waiting.pop(i) for i in taken]
            inputs += refined
            refined.clear()
            refined.append(block(inputs))
        return refined[0]


class RefineNet(nn.Module):
    """The network of Lin et al. (CVPR 2017) and its family, built from a ModelConfig.

    Any height and width from 1 pixel up; normalisation is inside. Use ``refineseg.create_model`` for presets.

    Args:
        config: settings of the network.
        backbone: backbone to use instead of the one in the settings, copied for further input scales.
    """

    CLASS_LAYER = "classifier"  # name of the convolution whose output channels are the classes
    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, backbone: Backbone | None = None) -> None:
        super().__init__()
        self.config = config
        self.set_normalisation()
        backbones = [
            create_backbone(config.backbone, config.in_channels, config.stride_in_1x1, config.output_stride)
            if backbone is None
            else (copy.deepcopy(backbone) if scale else backbone)
            for scale in range(len(config.input_scales))
        ]
        maps = [
            (width, stride, stride * ratio)
            for net, ratio in zip(backbones, config.scale_ratios, strict=True)
            for width, stride in zip(net.channels, net.strides, strict=True)
        ]
        if config.image_pooling:
            maps.append(maps[len(backbones[0].channels) - 1])
        self.backbones = nn.ModuleList(backbones)
        channels, strides, steps = ([pair[place] for pair in maps] for place in range(3))
        self.decoder = Decoder(config, channels, strides, steps)
        self.final = nn.Sequential(
            *(ResidualConvUnit(self.decoder.out_channels, config.kernel_size) for _ in range(config.final_rcus))
        )
        self.dropout = nn.Dropout(config.classifier_dropout)
        outputs = config.num_classes + config.void_logit
        self.classifier = conv(self.decoder.out_channels, outputs, 3, bias=True)
        if config.init == "paper":
            for part in (self.decoder, self.final, self.classifier):
                part.apply(init_paper)
        elif config.init == "identity":
            for block in self.decoder.blocks:
                if isinstance(block, RefineNetBlock) and block.takes_refined:
                    # The fusion passes the coarser block's output on; its first channels where it is wider.
                    path = block.fusion.convs[-1]
                    if isinstance(path, nn.Conv2d) and not path.weight.is_meta:
                        nn.init.dirac_(path.weight)

    def set_normalisation(self, dtype: torch.dtype = torch.float32) -> None:
        """Set the buffers of mean and deviation from the configuration."""
        for name in ("mean", "std"):
            values = torch.tensor(getattr(self.config, name), dtype=dtype).view(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """See nn.Module; in float64, mean and deviation are exact, not rounded to float32."""
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.mean.dtype == torch.float64:
            device = self.mean.device
            self.set_normalisation(torch.float64)
            self.mean, self.std = self.mean.to(device), self.std.to(device)
        return moved

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.config.num_classes

    def each_backbone(self) -> list[Backbone]:
        """The backbones, one per input scale."""
        return [net for net in self.backbones if isinstance(net, Backbone)]

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        """RGB in [0, 1], BxCxHxW, to logits BxKxHxW, or at stride 4 of the (first) scaled input.

        Raises ValueError if the images do not have four dimensions and the network's number of channels.
        """
        self.check(images)
        size = images.shape[-2:]
        maps: list[Tensor] = []
        for place, net in enumerate(self.each_backbone()):
            maps += self._maps(net, self._at_scale(self._normalised(images), place))
        if self.config.image_pooling:
            coarsest = maps[len(self.each_backbone()[0].channels) - 1]
            mean = coarsest.mean((2, 3), keepdim=True)
            # 1x1 convolutions need one cell of it, which is added to all; wider ones see the edge of the map.
            maps.append(mean if self.config.kernel_size == 1 else mean.expand_as(coarsest))
        logits: Tensor = self.classifier(self.dropout(self.final(self.decoder(maps))))
        if self.config.void_logit:
            logits = logits[:, :-1]
        # Half-pixel centres, so that a pixel's place does not depend on the size of the picture: tiles must agree.
        return bilinear(logits, size, align_corners=False) if upsample else logits

    def check(self, images: Tensor) -> None:
        """ValueError unless the images have four dimensions and the network's number of channels."""
        if images.ndim != 4 or images.shape[1] != self.config.in_channels:
            raise ValueError(
                f"expected images of shape (B, {self.config.in_channels}, H, W) with values in [0, 1], "
                f"got {tuple(images.shape)}; add a batch dimension with images[None], channels come second"
            )

    def _normalised(self, images: Tensor) -> Tensor:
        """Images minus mean, divided by deviation, in the type of the weights (bf16 only from here on)."""
        x, dtype = (images - self.mean) / self.std, next(self.backbones.parameters()).dtype
        return x if x.dtype == dtype else x.to(dtype)

    def _at_scale(self, images: Tensor, place: int) -> Tensor:
        """Images at an input scale; with exact strides smaller ones from the largest, by exactly their ratio."""
        scale, ratio = self.config.input_scales[place], self.config.scale_ratios[place]
        if self.config.exact_strides and ratio > 1:
            images = self._at_scale(images, self.config.scale_ratios.index(1))
            height, width = images.shape[-2:]
            images = F.pad(images, (0, -width % ratio, 0, -height % ratio), mode="replicate")
            size = [side // ratio for side in images.shape[-2:]]
            return bilinear(images, size, align_corners=False)
        if scale == 1.0:
            return images
        size = [scaled(side, scale) for side in images.shape[-2:]]
        if self.config.upsampling == "bicubic":
            return bicubic(images, size)
        return bilinear(images, size, align_corners=False)

    def _maps(self, net: Backbone, images: Tensor) -> list[Tensor]:
        """Maps of one backbone. The image is padded to a multiple; the maps are cut accordingly."""
        height, width = images.shape[-2:]
        multiple = net.multiple
        down, right = -height % multiple, -width % multiple
        if down or right:
            images = F.pad(images, (0, right, 0, down), mode="replicate")
        maps = net.maps(images)
        if not (down or right):
            return maps
        return [
            x[..., : (height + stride - 1) // stride, : (width + stride - 1) // stride]
            for x, stride in zip(maps, net.strides, strict=True)
        ]


def init_paper(module: nn.Module) -> None:
    """Initialise a convolution from N(0, 0.01), as the authors do; for ``nn.Module.apply``."""
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        nn.init.normal_(module.weight, std=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
