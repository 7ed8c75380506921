"""Vision transformers as backbones with four maps, each with a class token if there is one.

Any network of timm's classes ``VisionTransformer`` (AugReg, DINOv2, CLIP ...), ``Eva`` (DINOv3) and ``Beit``, for
pictures of any size that the patch divides: position embeddings are interpolated to the picture's grid. The two
finest maps of a hybrid (``vit_base_r50_s16``) are those of the ResNet before the transformer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config.dpt import MAPS, DPTConfig
from refineseg.errors import ConfigError
from refineseg.model.backbones.backbone import Backbone

Tokens = tuple[Tensor, Tensor | None]  # a map BxCxhxw, and the class token BxC if there is one
FACTORS = (4.0, 2.0, 1.0, 0.5)  # ratios of the maps' sizes to the grid of tokens, fine to coarse
RESNET_MAPS = 2  # maps that come from a hybrid's ResNet


class TokenBackbone(Backbone):
    """A backbone whose maps a DPT reassembles."""

    factors: list[float | None]  # change of size of each map; None for a map that is used unchanged
    has_class_token: bool  # whether maps come with a class token

    def tokens(self, image: Tensor) -> list[Tokens]:
        """BxCxHxW, sides multiples of ``multiple``, to four maps, each with its class token if any."""
        raise NotImplementedError

    def maps(self, image: Tensor) -> list[Tensor]:
        """BxCxHxW to the four maps."""
        return [patches for patches, _ in self.tokens(image)]


class ViTBackbone(TokenBackbone):
    """A vision transformer of timm, plain or after the first three stages of a ResNet (hybrid)."""

    net: Any

    def __init__(self, name: str, in_channels: int, config: DPTConfig) -> None:
        super().__init__()
        net: Any = _timm_network(name, in_channels, config)
        net.fc_norm = nn.Identity()  # unused
        if not config.final_norm:
            net.norm = nn.Identity()
        self.net = net
        depth = len(net.blocks)
        self.hybrid = hasattr(net.patch_embed, "backbone")
        before = RESNET_MAPS if self.hybrid else 0
        self.layers = config.layers or tuple(depth * (part + 1) // MAPS - 1 for part in range(before, MAPS))
        if len(set(self.layers)) != MAPS - before or self.layers[-1] >= depth:
            raise ConfigError(
                f"expected {MAPS - before} layers below {depth}, the blocks of {name}, got {list(self.layers)}"
            )
        self.final_norm, self.interpolation = config.final_norm, config.positions
        self.patch = int(net.patch_embed.feat_ratio())
        self.channels, self.strides = [int(net.embed_dim)] * MAPS, [self.patch] * MAPS
        self.factors = list(FACTORS)
        for index in range(before):
            stage = net.patch_embed.backbone.feature_info[index + 1]  # 0 is the stem
            self.channels[index], self.strides[index] = stage["num_chs"], stage["reduction"]
            self.factors[index] = None
        if self.hybrid:
            _fix_padding(net.patch_embed.backbone)
        self.multiple = self.patch
        self.has_class_token = getattr(net, "cls_token", None) is not None

    def tokens(self, image: Tensor) -> list[Tokens]:
        """BxCxHxW, sides multiples of the patch, to a hybrid's maps and the tokens after each of ``layers``."""
        from timm.models.beit import Beit
        from timm.models.eva import Eva

        grid = (image.shape[-2] // self.patch, image.shape[-1] // self.patch)
        if isinstance(self.net, Eva):
            return self._tokens_of_eva(image)
        taken: list[Tokens] = []
        if self.hybrid:
            resnet = self.net.patch_embed.backbone
            image = resnet.stem(image)
            for stage in resnet.stages:
                image = stage(image)
                taken.append((image, None))
            del taken[RESNET_MAPS:]
        x, prefix = self._embedded(image, grid)
        blocks = _beit_blocks(self.net, x, grid) if isinstance(self.net, Beit) else _plain_blocks(self.net, x)
        for index, tokens in enumerate(blocks):
            if index in self.layers:
                taken.append(self._split(tokens, prefix, grid))
            if index == self.layers[-1]:
                break
        return taken

    def _embedded(self, image: Tensor, grid: tuple[int, int]) -> tuple[Tensor, int]:
        """Class and register tokens, then patches with positions, BxNxC; and the number of the former."""
        net = self.net
        norm: nn.Module = getattr(net.patch_embed, "norm", nn.Identity())
        x = norm(net.patch_embed.proj(image).flatten(2).transpose(1, 2))
        extra = [token for token in (net.cls_token, getattr(net, "reg_token", None)) if token is not None]
        prefix = sum(int(token.shape[1]) for token in extra)
        before = [token.expand(x.shape[0], -1, -1) for token in extra]
        if net.pos_embed is None:
            x = torch.cat([*before, x], dim=1)
        elif getattr(net, "no_embed_class", False):
            x = torch.cat([*before, x + self._positions(net.pos_embed, grid)], dim=1)
        else:
            own, rest = net.pos_embed[:, :prefix], net.pos_embed[:, prefix:]
            x = torch.cat([*before, x], dim=1) + torch.cat([own, self._positions(rest, grid)], dim=1)
        norm_pre: nn.Module = getattr(net, "norm_pre", nn.Identity())
        return norm_pre(net.pos_drop(x)), prefix

    def _positions(self, embeddings: Tensor, grid: tuple[int, int]) -> Tensor:
        """Position embeddings 1xNxC of a square grid, interpolated to another grid."""
        side = round(embeddings.shape[1] ** 0.5)
        square = embeddings.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = F.interpolate(square, grid, mode=self.interpolation, align_corners=False)
        return resized.flatten(2).transpose(1, 2)

    def _split(self, tokens: Tensor, prefix: int, grid: tuple[int, int]) -> Tokens:
        x = self.net.norm(tokens) if self.final_norm else tokens
        patches = x[:, prefix:].transpose(1, 2).reshape(x.shape[0], x.shape[2], *grid)
        return patches, x[:, 0] if self.has_class_token else None

    def _tokens_of_eva(self, image: Tensor) -> list[Tokens]:
        """With timm's own code, which computes rotary positions for any grid."""
        taken = self.net.forward_intermediates(
            image,
            indices=list(self.layers),
            return_prefix_tokens=True,
            norm=self.final_norm,
            stop_early=True,
            intermediates_only=True,
        )
        return [(patches, prefix[:, 0] if self.has_class_token else None) for patches, prefix in taken]


def _timm_network(name: str, in_channels: int, config: DPTConfig) -> nn.Module:
    """timm's network of that name, in the settings' sizes if given; ConfigError for another kind of network."""
    import timm
    from timm.models.beit import Beit
    from timm.models.eva import Eva
    from timm.models.resnetv2 import ResNetV2
    from timm.models.vision_transformer import VisionTransformer

    sizes: dict[str, Any] = {}
    if config.vit is not None:
        vit = config.vit
        sizes = {"img_size": vit.image, "patch_size": vit.patch, "embed_dim": vit.width, "depth": vit.depth}
        sizes |= {"num_heads": vit.heads, "mlp_ratio": vit.mlp}
        sizes["norm_layer"] = partial(nn.LayerNorm, eps=vit.norm_eps)
    try:
        entry = timm.models.model_entrypoint(name)
        module = entry.__module__.rpartition(".")[2]
        if module == "eva":
            sizes["dynamic_img_size"] = True
        elif module == "vision_transformer_hybrid":
            sizes.pop("patch_size", None)  # of the ResNet's map, always 1
        net: Any = timm.create_model(name, pretrained=False, num_classes=0, in_chans=in_channels, **sizes)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"expected the name of a plain vision transformer of timm, got {name!r} ({error}); "
            "timm.list_models('vit*') lists the names"
        ) from error
    fits = isinstance(net, VisionTransformer | Eva | Beit) and hasattr(net.patch_embed, "proj")
    resnet = getattr(net.patch_embed, "backbone", None) if fits else None
    if resnet is not None:
        fits = isinstance(resnet, ResNetV2) and len(resnet.stages) == 3 and net.patch_embed.feat_ratio() == 16
    if not fits:
        raise ConfigError(
            f"expected a plain vision transformer or vit_base_r50_s16 as the backbone of a DPT, got {name!r}, a "
            f"{type(net).__name__}; backbones with maps of four strides go with the presets without dpt"
        )
    made: nn.Module = net
    return made


def _fix_padding(resnet: Any) -> None:
    """Give layers of stride 2 a fixed SAME padding; all sides are even here.

    timm computes it from each map's size, with formulas on which ``torch.export`` takes hours.
    """

    def pad(layer: Any, inputs: tuple[Tensor]) -> Tensor:
        both = max(layer.kernel_size[0] - 2, 0)
        return F.pad(inputs[0], 2 * (both // 2, both - both // 2))

    for layer in resnet.modules():
        if getattr(layer, "same_pad", False):
            layer.same_pad = False
            layer.register_forward_pre_hook(pad)
    resnet.stem.pool = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))  # after a ReLU


def _plain_blocks(net: Any, x: Tensor) -> Iterator[Tensor]:
    for block in net.blocks:
        x = block(x)
        yield x


# BEiT -------------------------------------------------------------------------------------------------------


def _beit_blocks(net: Any, x: Tensor, grid: tuple[int, int]) -> Iterator[Tensor]:
    """BEiT's blocks (Bao et al., ICLR 2022), whose attention has a bias by the offset between two patches.

    timm fixes the grid when the network is built. Here the table of biases is interpolated to the picture's grid.
    """
    index = relative_positions(grid, x.device)
    for block in net.blocks:
        y = _attention(block.attn, block.norm1(x), _relative_bias(block.attn, index, grid))
        x = x + (y if block.gamma_1 is None else block.gamma_1 * y)
        y = block.mlp(block.norm2(x))
        x = x + (y if block.gamma_2 is None else block.gamma_2 * y)
        yield x


def relative_positions(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Row of the table of biases for each pair of tokens, (N+1)x(N+1) with the class token first.

    The table has a row for each offset (rows of offsets from the last to the first), then three for the class
    token: to a patch, from a patch, and to itself.
    """
    height, width = grid
    # Expanded, not repeated: repeats by a symbolic number are exported wrongly to ONNX. Single rows are indexed,
    # not sliced: torch 2.11 gives a slice a size of its own when it exports.
    rows = torch.arange(height, device=device)[:, None].expand(height, width).reshape(-1)
    columns = torch.arange(width, device=device)[None].expand(height, width).reshape(-1)
    down = rows[:, None] - rows[None] + height - 1
    right = columns[:, None] - columns[None] + width - 1
    between = down * (2 * width - 1) + right
    offsets = (2 * height - 1) * (2 * width - 1)
    to_patch = torch.full_like(between[0][None], offsets)
    index = torch.cat([to_patch, between], dim=0)
    from_patch = torch.full_like(index[:, 0][:, None], offsets + 1)
    index = torch.cat([from_patch, index], dim=1)
    corner = F.pad(torch.ones_like(index[0, 0][None, None]), (0, index.shape[1] - 1, 0, index.shape[0] - 1))
    return index + corner


def _relative_bias(attn: Any, index: Tensor, grid: Sequence[int]) -> Tensor | None:
    """Bias for each pair of tokens, 1xheadsxNxN."""
    table = attn.relative_position_bias_table
    if table is None:
        return None
    height, width = (2 * side - 1 for side in attn.window_size)
    square = table[:-3].reshape(1, height, width, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(square, [2 * side - 1 for side in grid], mode="bilinear", align_corners=False)
    rows = torch.cat([resized.flatten(2)[0].transpose(0, 1), table[-3:]])
    return rows[index].permute(2, 0, 1)[None]


def _attention(attn: Any, x: Tensor, bias: Tensor | None) -> Tensor:
    batch, count, _ = x.shape
    shift = None if attn.q_bias is None else torch.cat((attn.q_bias, attn.k_bias, attn.v_bias))
    joint = F.linear(x, attn.qkv.weight, shift).reshape(batch, count, 3, attn.num_heads, -1)
    query, key, value = joint.permute(2, 0, 3, 1, 4).unbind(0)
    y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    out: Tensor = attn.proj(y.transpose(1, 2).reshape(batch, count, -1))
    return out
