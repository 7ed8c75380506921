"""The RefineNet block and its parts (Lin et al., CVPR 2017, section 3.2), for any number of inputs.

Shapes: B batch, C channels, H x W any size from 1 x 1 up. Every module keeps H x W unless it says otherwise.
A kernel size of 3 is the published network; 1 is Light-Weight RefineNet (Nekrasov et al., BMVC 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model.memory_saving import max_pool5, run_steps
from refineseg.model.resize import bicubic, bilinear, upsample_on_grid
from refineseg.system.text import counted

Pooling = Literal["original", "improved"]
Upsampling = Literal["bilinear", "bicubic"]


def conv(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> nn.Conv2d:
    """Convolution of stride 1 that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))): pre-activation residual unit without batch norm (section 3.2, RCU).

    As in the public code, the first convolution has a bias and the second has none.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, kernel_size, bias=True)
        self.conv2 = conv(channels, channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        delta: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + delta


class MultiResolutionFusion(nn.Module):
    """The sum of maps of several sizes and widths (section 3.2, multi-resolution fusion).

    Each path has a convolution to the smallest channel count among the inputs and is upsampled to the size of the
    largest map. A single path is passed on unchanged and has no parameters.

    Args:
        in_channels: width of each path.
        project: whether each path has a convolution; a path without one must have the output width already.
        kernel_size: kernel size of the convolutions.
        align_corners: whether bilinear upsampling aligns corners; the PyTorch ports do.
        strides: strides of the paths' maps. With them maps are upsampled by the exact ratio of strides
            (``upsample_on_grid``), without them to the size of the largest map.
        upsampling: ``bilinear``, or ``bicubic`` as in the authors' code (one ratio for both sides, then cut).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        project: Sequence[bool] | None = None,
        kernel_size: int = 3,
        align_corners: bool = True,
        strides: Sequence[int] | None = None,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        if upsampling not in ("bilinear", "bicubic"):
            raise ValueError(f"expected upsampling 'bilinear' or 'bicubic', got {upsampling!r}")
        self.out_channels = min(in_channels)
        self.align_corners = align_corners
        self.upsampling = upsampling
        self.factors: list[int] | None = None
        if strides is not None:
            if any(stride % min(strides) for stride in strides):
                raise ValueError(f"expected strides that are multiples of the smallest, got {list(strides)}")
            self.factors = [stride // min(strides) for stride in strides]
        project = [len(in_channels) > 1] * len(in_channels) if project is None else project
        for width, projected in zip(in_channels, project, strict=True):
            if not projected and width != self.out_channels:
                raise ValueError(
                    f"expected a path without convolution to be {self.out_channels} wide, got {width}"
                )
        self.convs = nn.ModuleList(
            conv(width, self.out_channels, kernel_size) if projected else nn.Identity()
            for width, projected in zip(in_channels, project, strict=True)
        )

    def forward(self, *maps: Tensor | list[Tensor]) -> Tensor:
        """Maps BxC_ixH_ixW_i, one per path, to BxCxHxW with C the smallest width and HxW the largest map."""
        given = as_list(maps, len(self.convs))
        size = largest(given)
        return self.add_up((project(x) for project, x in zip(self.convs, given, strict=True)), size)

    def add_up(self, maps: Iterable[Tensor], size: Sequence[int]) -> Tensor:
        """The sum of the paths' maps BxCxH_ixW_i, upsampled to ``size``, the largest of their sizes.

        Since upsampling is linear, maps at one stride are added before it.
        """
        if self.factors is None:
            return reduce(add, (self.upsample(x, size, index) for index, x in enumerate(maps)))
        sums: dict[int, Tensor] = {}
        for factor, x in zip(self.factors, maps, strict=True):
            sums[factor] = sums[factor] + x if factor in sums else x
        if not self.in_steps:
            corners = self.align_corners
            return reduce(add, (upsample_on_grid(x, size, factor, corners) for factor, x in sums.items()))
        levels = sorted(sums, reverse=True)
        total = sums.pop(levels[0])
        for coarse, fine in pairwise(levels):
            finer = sums.pop(fine)
            total = finer + upsample_on_grid(total, finer.shape[-2:], coarse // fine, align_corners=True)
        return total

    @property
    def in_steps(self) -> bool:
        """Whether upsampling from stride to stride equals upsampling at once: cells lie on cells."""
        levels = sorted(set(self.factors or []))
        return self.align_corners and bool(levels) and all(b % a == 0 for a, b in pairwise(levels))

    def upsample(self, x: Tensor, size: Sequence[int], path: int) -> Tensor:
        """The map of one path, BxCxHxW, upsampled to ``size``; the map itself if it has that size already."""
        if self.factors is not None:
            return upsample_on_grid(x, size, self.factors[path], self.align_corners)
        if self.upsampling == "bicubic":
            return bicubic(x, size, one_ratio=True)
        return bilinear(x, size, self.align_corners)


class ChainedResidualPooling(nn.Module):
    """A chain of 5x5 max-pooling and convolutions whose stages are added to the input (section 3.2, CRP).

    The activation at the start is the only non-linearity on the block's main path. ``original`` pools, then
    convolves (the paper); ``improved`` convolves, then pools (the authors' models of 2018).
    """

    def __init__(
        self,
        channels: int,
        stages: int = 4,
        pooling: Pooling = "original",
        kernel_size: int = 3,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        if pooling not in ("original", "improved"):
            raise ValueError(f"expected pooling 'original' or 'improved', got {pooling!r}")
        self.pooling = pooling
        self.activation = activation()
        self.convs = nn.ModuleList(conv(channels, channels, kernel_size) for _ in range(stages))

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        return self.chain(self.activation(x))

    def chain(self, total: Tensor) -> Tensor:
        """The sum of the activated map BxCxHxW and all stages."""
        stage = total
        for convolution in self.convs:
            steps = (max_pool5, convolution) if self.pooling == "original" else (convolution, max_pool5)
            for step in steps:
                stage = step(stage)
            total = total + stage
        return total


class RefineNetBlock(nn.Module):
    """One RefineNet block: adaptation and RCUs per path, fusion, chained residual pooling, output RCUs.

    It takes any number of maps of any sizes and widths and returns one map of the size of the largest, so it can
    be the decoder of any network. There are two kinds of inputs: backbone maps, adapted by a convolution and RCUs,
    and after them outputs of coarser RefineNet blocks (``refined_channels``). In the paper's text the latter have
    two RCUs; the public code has these at the end of the coarser block instead, which is the same function.

    Args:
        in_channels: channels of each backbone map.
        widths: channels after adaptation, one per backbone map, or one number for all.
        refined_channels: channels of each output of a coarser block, given after the backbone maps.
        rcus: residual conv units per backbone map.
        refined_rcus: residual conv units per output of a coarser block; the paper's text has 2, the code none.
        crp_stages: pooling stages; the paper's text has 2, the public code 4.
        pooling: order in chained residual pooling, ``original`` or ``improved``.
        output_rcus: residual conv units at the end; the paper's text has 1, the public code 3.
        kernel_size: 3, or 1 for the light-weight form.
        lateral_fusion: whether backbone maps have a fusion convolution; false in the light-weight MobileNet-v2.
        activation: activation of the pooling chain: ReLU, or ReLU6 in the light-weight MobileNet-v2.
        align_corners: passed to ``MultiResolutionFusion``.
        strides: passed to ``MultiResolutionFusion``.
        upsampling: passed to ``MultiResolutionFusion``.

    Example:
        >>> block = RefineNetBlock([512, 256], widths=128, refined_channels=[128])
        >>> maps = torch.zeros(1, 512, 7, 9), torch.zeros(1, 256, 14, 18), torch.zeros(1, 128, 4, 5)
        >>> block(*maps).shape
        torch.Size([1, 128, 14, 18])
    """

    def __init__(  # noqa: PLR0913 - the block is the published unit, and these are its published settings
        self,
        in_channels: Sequence[int],
        widths: int | Sequence[int] = 256,
        refined_channels: Sequence[int] = (),
        *,
        rcus: int = 2,
        refined_rcus: int = 0,
        crp_stages: int = 4,
        pooling: Pooling = "original",
        output_rcus: int = 3,
        kernel_size: int = 3,
        lateral_fusion: bool = True,
        activation: type[nn.Module] = nn.ReLU,
        align_corners: bool = True,
        strides: Sequence[int] | None = None,
        upsampling: Upsampling = "bilinear",
    ) -> None:
        super().__init__()
        widths = [widths] * len(in_channels) if isinstance(widths, int) else list(widths)
        if len(widths) != len(in_channels):
            raise ValueError(f"expected one width per map ({len(in_channels)}), got {len(widths)}")
        paths = widths + list(refined_channels)
        if not paths:
            raise ValueError("expected at least one input map, got none")
        self.adapt = nn.ModuleList(
            nn.Sequential(
                conv(channels, width, kernel_size), *(ResidualConvUnit(width, kernel_size) for _ in range(rcus))
            )
            for channels, width in zip(in_channels, widths, strict=True)
        )
        self.adapt.extend(
            nn.Sequential(*(ResidualConvUnit(width, kernel_size) for _ in range(refined_rcus)))
            for width in refined_channels
        )
        several = len(paths) > 1
        lateral = several and (lateral_fusion or len(set(paths)) > 1)
        project = [lateral] * len(widths) + [several] * len(refined_channels)
        self.fusion = MultiResolutionFusion(paths, project, kernel_size, align_corners, strides, upsampling)
        self.out_channels = self.fusion.out_channels
        self.pooling = ChainedResidualPooling(self.out_channels, crp_stages, pooling, kernel_size, activation)
        self.output = nn.Sequential(
            *(ResidualConvUnit(self.out_channels, kernel_size) for _ in range(output_rcus))
        )
        self.inputs = len(paths)
        self.takes_refined = bool(refined_channels)

    def forward(self, *maps: Tensor | list[Tensor]) -> Tensor:
        """Maps BxC_ixH_ixW_i in the order of the constructor, to BxCxHxW with HxW the largest map's size.

        A single list of maps is accepted too; it is emptied, so that each map is freed as soon as it is used.
        """
        x = [self._fused(as_list(maps, self.inputs))]
        return run_steps([self.pooling.activation, self.pooling.chain, *self.output], x)

    def _fused(self, maps: list[Tensor]) -> Tensor:
        """The sum of all paths: adaptation, RCUs, convolution, upsampling. The list is emptied."""
        size = largest(maps)
        paths = zip(self.adapt, self.fusion.convs, strict=True)
        return self.fusion.add_up(
            (run_steps([*adapt.children(), project], maps) for adapt, project in paths), size
        )


def as_list(maps: tuple[Tensor | list[Tensor], ...], expected: int) -> list[Tensor]:
    """The arguments of a block as a list: the list that was given, or one of the given tensors."""
    given = maps[0] if len(maps) == 1 and isinstance(maps[0], list) else [x for x in maps if isinstance(x, Tensor)]
    if len(given) != expected:
        raise ValueError(f"expected {counted(expected, 'input map')}, got {len(given)}")
    return given


def largest(maps: Iterable[Tensor]) -> tuple[int, int]:
    """The largest height and the largest width of the maps."""
    sizes = [x.shape[-2:] for x in maps]
    return max(size[0] for size in sizes), max(size[1] for size in sizes)
