"""Swin, v1 or v2, as the backbone of a DPT (MiDaS 3.1): its four stages give the maps, at strides 4 to 32."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from refineseg.config.dpt import SwinSizes
from refineseg.model.backbones.backbone import STRIDES
from refineseg.model.dpt.vit import TokenBackbone, Tokens


class SwinBackbone(TokenBackbone):
    """timm's Swin in any size. Its windows are fixed for pictures of the size in ``sizes``."""

    has_class_token = False

    def __init__(self, name: str, in_channels: int, sizes: SwinSizes) -> None:
        super().__init__()
        import timm

        trained = {"pretrained_window_sizes": sizes.trained_windows} if name.startswith("swinv2") else {}
        net: Any = timm.create_model(
            name,
            pretrained=False,
            features_only=True,
            strict_img_size=False,
            in_chans=in_channels,
            img_size=sizes.image,
            embed_dim=sizes.width,
            depths=sizes.depths,
            num_heads=sizes.heads,
            window_size=sizes.window,
            mlp_ratio=sizes.mlp,
            **trained,
        )
        self.net = net
        self.channels, self.strides = list(net.feature_info.channels()), list(STRIDES)
        self.multiple = STRIDES[-1]
        self.factors = [None] * len(STRIDES)

    def tokens(self, image: Tensor) -> list[Tokens]:
        """BxCxHxW, sides multiples of 32, to the maps of the four stages."""
        return [(x.permute(0, 3, 1, 2).contiguous(), None) for x in self.net(image)]
