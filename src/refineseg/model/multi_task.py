"""Classes, depth and surface normals from one decoder (Nekrasov et al., ICRA 2019).

Light-Weight RefineNet on MobileNet-v2 with a depthwise pooling chain in the finest block, and with a factor per
channel and ReLU6 before the output of each task. ``forward`` returns the classes, as for any network; ``tasks``
returns all outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import ModelConfig
from refineseg.model.backbones.backbone import Backbone
from refineseg.model.blocks import RefineNetBlock, conv
from refineseg.model.refinenet import RefineNet
from refineseg.model.resize import bilinear

CHANNELS = {"depth": 1, "normals": 3}  # channels of the further outputs
CLASSES = "classes"


class MultiTaskRefineNet(RefineNet):
    """A RefineNet with further outputs beside the classes, as its configuration names them."""

    CLASS_LAYER = "classifier.out"

    def __init__(self, config: ModelConfig, backbone: Backbone | None = None) -> None:
        super().__init__(config, backbone)
        width = self.decoder.out_channels
        finest = self.decoder.blocks[-1]
        assert isinstance(finest, RefineNetBlock)
        chain = finest.pooling
        chain.convs = nn.ModuleList(_depthwise(width) for _ in chain.convs)
        self.classifier = TaskHead(width, config.num_classes)  # type: ignore[assignment]
        self.further = nn.ModuleDict({name: TaskHead(width, CHANNELS[name]) for name in config.further_outputs})

    @torch.inference_mode()
    def tasks(self, images: Tensor) -> dict[str, Tensor]:
        """RGB in [0, 1], BxCxHxW, to each task's output at the images' size.

        ``classes`` are logits BxKxHxW, ``depth`` is Bx1xHxW and ``normals`` Bx3xHxW, as the network was trained.
        """
        kept: list[Tensor] = []
        handle = self.decoder.register_forward_hook(lambda _module, _given, made: kept.append(made))
        try:
            found = {CLASSES: self(images)}
        finally:
            handle.remove()
        size = images.shape[-2:]
        return found | {
            name: bilinear(head(kept[0]), size, align_corners=False) for name, head in self.further.items()
        }


class TaskHead(nn.Module):
    """A factor per channel (a depthwise 1x1 convolution), ReLU6, and a 3x3 convolution."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.scale = _depthwise(channels)
        self.out = conv(channels, outputs, 3, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxHxW."""
        result: Tensor = self.out(F.relu6(self.scale(x)))
        return result


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
