"""DPT: a vision transformer, its tokens reassembled to four maps, reduced RefineNet blocks, and a head.

Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021. With a patch of P pixels the maps have strides
P/4, P/2, P and 2P and the decoder's output P/8; the head upsamples it to the picture's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import ModelConfig
from refineseg.config.dpt import MAPS, DPTConfig
from refineseg.model.blocks import conv
from refineseg.model.dpt.decoder import DecoderConfig, DPTDecoder
from refineseg.model.dpt.swin import SwinBackbone
from refineseg.model.dpt.vit import TokenBackbone, Tokens, ViTBackbone
from refineseg.model.refinenet import RefineNet
from refineseg.model.resize import bilinear

HEAD_DROPOUT = 0.1  # as in DPT for segmentation


class DPT(RefineNet):
    """A DPT for classes or for depth, with the interface of a RefineNet.

    Any height and width from 1 pixel up; normalisation is inside. Logits have the picture's size, so ``upsample``
    has no effect. A model of depth has one output channel.
    """

    CLASS_LAYER = "classifier.classes"

    def __init__(self, config: ModelConfig) -> None:
        if config.dpt is None:
            raise ValueError("expected settings with dpt, got none")
        nn.Module.__init__(self)  # without the parts of a RefineNet
        self.config = config
        self.set_normalisation()
        swin = config.dpt.swin
        backbone: TokenBackbone
        if swin is None:
            backbone = ViTBackbone(config.backbone, config.in_channels, config.dpt)
        else:
            backbone = SwinBackbone(config.backbone, config.in_channels, swin)
        self.backbones = nn.ModuleList([backbone])
        shares = (count // part for count, part in zip(backbone.channels, (8, 4, 2, 1), strict=True))
        widths = config.dpt.map_widths or tuple(shares)
        readout = config.dpt.readout if backbone.has_class_token else "ignore"
        self.reassemble = Reassemble(backbone.channels, widths, backbone.factors, readout)
        widths = self.reassemble.widths
        self.decoder = DPTDecoder(  # type: ignore[assignment]
            DecoderConfig(
                in_channels=widths,
                widths=(config.width,) * MAPS,
                out_channels=config.width,
                batch_norm=config.dpt.batch_norm,
                unit_bias=config.dpt.unit_bias,
                align_corners=config.align_corners,
            )
        )
        head = DepthHead if config.outputs == "depth" else ClassHead
        self.classifier = head(config, config.dpt)  # type: ignore[assignment]

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:  # noqa: ARG002 - as of a RefineNet
        """RGB in [0, 1], BxCxHxW, to logits BxKxHxW; or to depth Bx1xHxW, at least 0.

        Raises ValueError if the images do not have four dimensions and the network's number of channels.
        """
        self.check(images)
        height, width = images.shape[-2:]
        (backbone,) = self.backbones
        assert isinstance(backbone, TokenBackbone)
        x = self._normalised(images)
        down, right = -height % backbone.multiple, -width % backbone.multiple
        x = F.pad(x, (0, right, 0, down), mode="replicate")
        size = (height + down, width + right)
        out: Tensor = self.classifier(self.decoder(self.reassemble(backbone.tokens(x))), size)
        return out[..., :height, :width]


class Reassemble(nn.Module):
    """Tokens to four maps: combine with the class token, project, and resample to strides P/4, P/2, P and 2P.

    Args:
        channels: channels of each input map, fine to coarse.
        widths: channels of the output maps.
        factors: change of size of each map; None passes a map on unchanged.
        readout: use of the class token: ``ignore``, ``add`` or ``project``.
    """

    def __init__(
        self,
        channels: Sequence[int],
        widths: Sequence[int],
        factors: Sequence[float | None],
        readout: Literal["ignore", "add", "project"] = "ignore",
    ) -> None:
        super().__init__()
        self.readout = readout
        self.readouts, self.projections, self.resizes = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        made_widths = []
        for given, width, factor in zip(channels, widths, factors, strict=True):
            unchanged = factor is None
            if readout == "project":
                self.readouts.append(nn.Identity() if unchanged else nn.Linear(2 * given, given))
            self.projections.append(nn.Identity() if unchanged else conv(given, width, 1, bias=True))
            self.resizes.append(nn.Identity() if factor is None else _resampling(width, factor))
            made_widths.append(given if unchanged else width)
        self.widths, self.factors = tuple(made_widths), tuple(factors)

    def forward(self, tokens: list[Tokens]) -> list[Tensor]:
        """Maps BxCxhxw with their class tokens, fine to coarse, to the four maps. The list is emptied."""
        maps = []
        for index, (project, resample) in enumerate(zip(self.projections, self.resizes, strict=True)):
            patches, read = tokens[index]
            tokens[index] = patches, None
            maps.append(resample(project(self._read(index, patches, read))))
            del patches
        tokens.clear()
        return maps

    def _read(self, index: int, patches: Tensor, read: Tensor | None) -> Tensor:
        if self.readout == "ignore" or read is None:
            return patches
        if self.readout == "add":
            return patches + read[:, :, None, None]
        # The projection of both is the sum of two projections; the class token's is computed once, not per patch.
        layer = self.readouts[index]
        assert isinstance(layer, nn.Linear)
        of_patch, of_read = layer.weight.chunk(2, dim=1)
        shift = F.linear(read, of_read, layer.bias)
        return F.gelu(F.conv2d(patches, of_patch[:, :, None, None]) + shift[:, :, None, None])


def _resampling(width: int, factor: float) -> nn.Module:
    """A learned change of size as in DPT: a transposed convolution up, a strided one down."""
    if factor > 1:
        return nn.ConvTranspose2d(width, width, int(factor), stride=int(factor))
    return nn.Identity() if factor == 1 else nn.Conv2d(width, width, 3, stride=int(1 / factor), padding=1)


class ClassHead(nn.Module):
    """A 3x3 convolution, ReLU, a 1x1 convolution to the classes, and upsampling."""

    def __init__(self, config: ModelConfig, dpt: DPTConfig) -> None:
        super().__init__()
        width = config.width
        self.conv = conv(width, width, 3, bias=not dpt.head_norm)
        self.norm = nn.BatchNorm2d(width) if dpt.head_norm else nn.Identity()
        self.dropout = nn.Dropout(HEAD_DROPOUT)
        self.classes = conv(width, config.num_classes, 1, bias=True)
        self.align_corners = config.align_corners

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """BxCxhxw to logits BxKxHxW of ``size``."""
        x = F.relu_(self.norm(self.conv(x)))
        return bilinear(self.classes(self.dropout(x)), size, self.align_corners)


class DepthHead(nn.Module):
    """A 3x3 convolution, upsampling, a 3x3 and a 1x1 convolution at full size; the result is at least 0."""

    def __init__(self, config: ModelConfig, dpt: DPTConfig) -> None:
        super().__init__()
        width = config.width
        self.project = conv(width, width, 3, bias=True) if dpt.head_projection else None
        self.conv1 = conv(width, width // 2, 3, bias=True)
        self.conv2 = conv(width // 2, dpt.head_width, 3, bias=True)
        self.depth = conv(dpt.head_width, 1, 1, bias=True)
        self.align_corners = config.align_corners
        self.max_depth, self.doubles = dpt.max_depth, dpt.head_doubles

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """BxCxhxw to depth Bx1xHxW of ``size``."""
        if self.project is not None:
            x = F.relu_(self.project(x))
        inner = (2 * x.shape[-2], 2 * x.shape[-1]) if self.doubles else size
        x = bilinear(self.conv1(x), inner, self.align_corners)
        depth: Tensor = self.depth(F.relu_(self.conv2(x)))
        depth = F.relu_(depth) if self.max_depth is None else torch.sigmoid(depth) * self.max_depth
        return bilinear(depth, size, align_corners=False)
