"""The RefineNet block and its parts (Lin et al., CVPR 2017, section 3.2), for any number of inputs.

Shapes: B batch, C channels, H x W any size from 1 x 1 up. Every module keeps H x W unless it says otherwise.
A kernel size of 3 is the published network; 1 is Light-Weight RefineNet (Nekrasov et al., BMVC 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model.memory_saving import max_pool5

Pooling = Literal["original", "improved"]


def conv(in_channels: int, out_channels: int, kernel_size: int, bias: bool = False) -> nn.Conv2d:
    """Convolution of stride 1 that keeps height and width."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)


def resize(x: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Bilinear resize of BxCxHxW to ``size`` (height, width); the same tensor if it has that size already."""
    if x.shape[-2:] == torch.Size(size):
        return x
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=align_corners)


def upsample_on_grid(x: Tensor, size: Sequence[int], factor: int) -> Tensor:
    """Bilinear upsampling of BxCxHxW by a whole ``factor`` (half-pixel centres), cut to ``size``.

    The last cell of a coarse map reaches beyond a picture whose sides the stride does not divide. Resizing to the
    finer map's size stretches the whole map for it, by up to half a coarse cell, so that a place depends on the
    picture's size, and windows of a picture do not agree with the whole.
    """
    if factor > 1:
        x = F.interpolate(x, [side * factor for side in x.shape[-2:]], mode="bilinear", align_corners=False)
        x = x[..., : size[0], : size[1]]
    return resize(x, size, align_corners=False)  # maps of others' networks may have dropped the remainder


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))): pre-activation residual unit without batch norm (section 3.2, RCU).

    The first convolution has a bias, the second has none, as released. The shortcut carries x itself.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, kernel_size, bias=True)
        self.conv2 = conv(channels, channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified."""
        # relu_ acts on a fresh tensor, never on x: the shortcut must not see it.
        y: Tensor = self.conv2(F.relu_(self.conv1(F.relu(x))))
        return y.add_(x)


class MultiResolutionFusion(nn.Module):
    """Brings maps of several sizes and widths to one, and sums them (section 3.2, multi-resolution fusion).

    Each path passes a convolution to the smallest channel count among the inputs, then bilinear upsampling to
    the largest map among the inputs. A single path goes through unchanged, without parameters.

    Args:
        in_channels: width of each path.
        project: per path, whether it has a convolution; a path without one must have the output width already.
        kernel_size: of the convolutions.
        align_corners: of the upsampling; the published ports use True.
        strides: of the paths' maps in one picture. With them maps are upsampled by the exact ratio of strides
            (``upsample_on_grid``) and ``align_corners`` has no meaning; else to the size of the largest.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        project: Sequence[bool] | None = None,
        kernel_size: int = 3,
        align_corners: bool = True,
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.out_channels = min(in_channels)
        self.align_corners = align_corners
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
        """Maps BxC_ixH_ixW_i, one per path, to BxCxHxW with C the smallest width and HxW the largest map.

        One list of maps is taken too, and emptied on the way: each map is freed as soon as it is used.
        """
        waiting = as_list(maps, len(self.convs))
        del maps
        size = (max(x.shape[-2] for x in waiting), max(x.shape[-1] for x in waiting))
        total, owned = waiting[0], False
        for index, path in enumerate(self.convs):
            entering = waiting.pop(0)
            x = path(entering)
            if self.factors is None:
                x = resize(x, size, self.align_corners)
            else:
                x = upsample_on_grid(x, size, self.factors[index])
            fresh = x is not entering  # not a map of the caller, so it may be summed into in place
            del entering
            if index == 0:
                total, owned = x, fresh
            else:
                total, owned = (total.add_(x) if owned else total + x), True
        return total


class ChainedResidualPooling(nn.Module):
    """A chain of 5x5 max-pools and convolutions, each stage added to the input (section 3.2, CRP).

    An activation comes first; it is the only non-linearity on the block's main path. ``original`` pools, then
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

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """BxCxHxW to BxCxHxW; x is not modified. A list of one map is taken too, and emptied: the map is freed."""
        given = as_list((x,), 1)
        del x
        total: Tensor = self.activation(given.pop())
        stage = total
        for index, convolution in enumerate(self.convs):
            # In two steps: what the first was made of is freed before the second makes its map.
            steps = (max_pool5, convolution) if self.pooling == "original" else (convolution, max_pool5)
            for step in steps:
                stage = step(stage)
            # Autograd keeps the activation's output, so the first sum must not overwrite it while training.
            total = total + stage if index == 0 and torch.is_grad_enabled() else total.add_(stage)
        return total


class RefineNetBlock(nn.Module):
    """One RefineNet block: adaptation and RCUs per path, fusion, chained residual pooling, output RCUs.

    Takes any number of maps of any sizes and widths and gives one map of the size of the largest, so it can be
    the decoder of any network. Inputs come in two kinds: maps of a backbone (adapted by a convolution and RCUs)
    and, after them, outputs of coarser RefineNet blocks (``refined_channels``), which enter the fusion as they
    are, since their own output RCUs have served.

    Args:
        in_channels: channels of each backbone map.
        widths: channels after adaptation, one per backbone map, or one number for all.
        refined_channels: channels of each output of a coarser block, given after the backbone maps.
        rcus: residual conv units per backbone map.
        crp_stages: pooling stages; the paper's text has 2, the released networks 4.
        pooling: order in chained residual pooling, ``original`` or ``improved``.
        output_rcus: residual conv units at the end; the paper's text has 1, the released networks 3.
        kernel_size: 3, or 1 for the light-weight form.
        lateral_fusion: whether backbone maps pass a fusion convolution; the light-weight MobileNet-v2 has none.
        activation: of the pooling chain; ReLU, or ReLU6 in the light-weight MobileNet-v2.
        align_corners: of the fusion's upsampling.
        strides: of all maps in one picture, in their order; see ``MultiResolutionFusion``.

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
        crp_stages: int = 4,
        pooling: Pooling = "original",
        output_rcus: int = 3,
        kernel_size: int = 3,
        lateral_fusion: bool = True,
        activation: type[nn.Module] = nn.ReLU,
        align_corners: bool = True,
        strides: Sequence[int] | None = None,
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
        several = len(paths) > 1
        lateral = several and (lateral_fusion or len(set(paths)) > 1)
        project = [lateral] * len(widths) + [several] * len(refined_channels)
        self.fusion = MultiResolutionFusion(paths, project, kernel_size, align_corners, strides)
        self.out_channels = self.fusion.out_channels
        self.pooling = ChainedResidualPooling(self.out_channels, crp_stages, pooling, kernel_size, activation)
        self.output = nn.Sequential(
            *(ResidualConvUnit(self.out_channels, kernel_size) for _ in range(output_rcus))
        )
        self.inputs = len(paths)
        self.takes_refined = bool(refined_channels)

    def forward(self, *maps: Tensor | list[Tensor]) -> Tensor:
        """Maps BxC_ixH_ixW_i in the order of the constructor, to BxCxHxW with HxW the largest map's size.

        One list of maps is taken too, and emptied on the way: each map is freed as soon as it is used.
        """
        paths = as_list(maps, self.inputs)
        del maps
        for index, adapt in enumerate(self.adapt):
            for part in adapt.children():  # one by one, so that no caller holds on to the backbone's map
                paths[index] = part(paths[index])
        x: Tensor = self.pooling([self.fusion(paths)])  # in a list, so that it is freed as soon as it is used
        for unit in self.output:
            x = unit(x)
        return x


def as_list(maps: tuple[Tensor | list[Tensor], ...], expected: int) -> list[Tensor]:
    """The one list among the arguments itself, or a list of the tensors given one by one."""
    given = maps[0] if len(maps) == 1 and isinstance(maps[0], list) else [x for x in maps if isinstance(x, Tensor)]
    if len(given) != expected:
        raise ValueError(f"expected {expected} input maps, got {len(given)}")
    return given
