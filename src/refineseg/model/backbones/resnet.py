"""ResNet (He et al., CVPR 2016) of 18 to 152 layers as a backbone: feature maps instead of a classifier.

The stride of a bottleneck is in its 3x3 convolution, as in torchvision and timm, or in its first 1x1 convolution,
as in the networks of the ResNet paper, which RefineNet's authors used. Key names are timm's, so that its weights
fit. The networks are not taken from timm because importing it takes longer than segmenting a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from refineseg.model.memory_saving import InPlaceBatchNorm2d

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)  # channels of the 3x3 convolutions of each stage
BOTTLENECKS_FROM = 50  # layers


class ResNetBlock(nn.Module):
    """ReLU(x + f(x)), where f is convolutions with norms, and ReLU between them.

    Widths and kernel sizes are per convolution. The stride is that of the shortcut and of the convolution with the
    index ``strided`` (None for the first 3x3); ``dilations`` are for 3x3 convolutions up to it, and after it.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        kernels: Sequence[int],
        stride: int,
        strided: int | None = None,
        dilations: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        strided = kernels.index(3) if strided is None else strided
        inputs = [channels, *widths[:-1]]
        self.layers = len(widths)
        for index, (into, out, kernel) in enumerate(zip(inputs, widths, kernels, strict=True)):
            step = stride if index == strided else 1
            dilation = dilations[index > strided] if kernel > 1 else 1
            padding = dilation * (kernel // 2)
            self.add_module(f"conv{index + 1}", nn.Conv2d(into, out, kernel, step, padding, dilation, bias=False))
            self.add_module(f"bn{index + 1}", InPlaceBatchNorm2d(out))
        self.act = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels != widths[-1]:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, widths[-1], 1, stride, bias=False), InPlaceBatchNorm2d(widths[-1])
            )

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxceil(H/stride)xceil(W/stride); x is not modified."""
        y = x
        for index in range(1, self.layers + 1):
            y = self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(y))
            if index < self.layers:
                y = self.act(y)
        result: Tensor = self.act(y.add_(x if self.downsample is None else self.downsample(x)))
        return result


class ResNet(nn.Module):
    """A ResNet's stem and four stages; ``depth`` is one of ``DEPTHS``.

    With ``stride_in_1x1`` bottlenecks have their stride in the first 1x1 convolution. Beyond ``output_stride``
    strides are replaced by dilation.
    """

    def __init__(
        self, depth: int, in_channels: int = 3, stride_in_1x1: bool = False, output_stride: int = 32
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = InPlaceBatchNorm2d(64)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.channels: list[int] = []  # channels of each stage's map
        self.strides: list[int] = []  # stride of each stage's map
        channels, total, dilation = 64, 4, 1
        for stage, (count, width) in enumerate(zip(DEPTHS[depth], WIDTHS, strict=True)):
            blocks = []
            before, factor = dilation, 2 if stage else 1
            if total * factor > output_stride:
                dilation *= factor
            else:
                total *= factor
            for index in range(count):
                stride = factor if not index and dilation == before else 1
                dilations = (dilation if index else before, dilation)
                widths, kernels = [width, width], [3, 3]
                if depth >= BOTTLENECKS_FROM:
                    widths, kernels = [width, width, 4 * width], [1, 3, 1]
                strided = 0 if stride_in_1x1 else None
                blocks.append(ResNetBlock(channels, widths, kernels, stride, strided, dilations))
                channels = widths[-1]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            self.channels.append(channels)
            self.strides.append(total)
        initialise(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """BxCxHxW, normalised, to the maps at strides 4, 8, 16 and 32, or ``output_stride`` at most."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(image))))
        maps = []
        for stage in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps


def initialise(network: nn.Module) -> None:
    """Initialise as timm does: normal by the fan of the output, the last norm of every block zero."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:  # on meta tensors init loads the compiler
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
    for part in network.modules():
        if isinstance(part, ResNetBlock):
            nn.init.zeros_(part.get_parameter(f"bn{part.layers}.weight"))
