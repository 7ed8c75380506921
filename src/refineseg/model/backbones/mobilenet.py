"""MobileNet-v2 (Sandler et al., CVPR 2018) without its classifier: stem and blocks, under timm's key names.

It is not taken from timm because importing timm takes longer than segmenting a picture.
"""

from __future__ import annotations

from math import sqrt

from torch import Tensor, nn

from refineseg.model.memory_saving import InPlaceBatchNorm2d

STEM = 32  # channels after the first convolution
# Number of blocks, channels, and stride of the first block, by group. All but the first group expand sixfold.
GROUPS = ((1, 16, 1), (2, 24, 2), (3, 32, 2), (4, 64, 2), (3, 96, 1), (3, 160, 2), (1, 320, 1))
EXPANSION = 6


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, 1x1 projection, each with a norm; ReLU6 after the first two.

    The stride and the dilation are those of the 3x3 convolution; with stride 1, x is added if the output has as
    many channels. ``expansion`` is the ratio of middle to input channels; 1 has no expanding convolution.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, expansion: int, dilation: int = 1) -> None:
        super().__init__()
        middle = channels * expansion
        depthwise = nn.Conv2d(middle, middle, 3, stride, dilation, dilation, groups=middle, bias=False)
        names = [("conv_dw", depthwise), ("conv_pw", nn.Conv2d(middle, out_channels, 1, bias=False))]
        if expansion > 1:
            names = [("conv_pw", nn.Conv2d(channels, middle, 1, bias=False)), names[0], ("conv_pwl", names[1][1])]
        self.names = tuple(name for name, _ in names)
        for index, (name, convolution) in enumerate(names):
            self.add_module(name, convolution)
            self.add_module(f"bn{index + 1}", InPlaceBatchNorm2d(convolution.out_channels))
        self.act = nn.ReLU6(inplace=True)
        self.skip = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxceil(H/stride)xceil(W/stride); x is not modified."""
        y = x
        for index, name in enumerate(self.names, 1):
            y = self.get_submodule(f"bn{index}")(self.get_submodule(name)(y))
            if index < len(self.names):
                y = self.act(y)
        return y.add_(x) if self.skip else y


def make_blocks(output_stride: int = 32) -> tuple[nn.Sequential, list[int]]:
    """The seven groups of blocks, and the stride of each group's output.

    Beyond ``output_stride``, strides are replaced by dilation (see ``create_backbone``).
    """
    groups, strides = [], []
    channels, total, dilation = STEM, 2, 1
    for number, (count, width, stride) in enumerate(GROUPS):
        dilated = total * stride > output_stride
        blocks = []
        for index in range(count):
            step = stride if index == 0 and not dilated else 1
            blocks.append(InvertedResidual(channels, width, step, EXPANSION if number else 1, dilation))
            channels = width
            if index == 0 and dilated:
                dilation *= stride
        total *= 1 if dilated else stride
        groups.append(nn.Sequential(*blocks))
        strides.append(total)
    return nn.Sequential(*groups), strides


def initialise(network: nn.Module) -> None:
    """Initialise as timm does: normal by the fan of the output."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:  # on meta tensors init loads the compiler
            high, wide = part.kernel_size
            nn.init.normal_(part.weight, 0, sqrt(2 * part.groups / (high * wide * part.out_channels)))
