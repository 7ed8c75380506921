"""A RefineNet block for inference, with fewer passes over its maps and with pairs of 1x1 convolutions merged."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.inference.fast.convolution import FusedConv, fusable, with_weights
from refineseg.model.blocks import RefineNetBlock, as_list, largest
from refineseg.model.memory_saving import starts
from refineseg.model.resize import upsample_on_grid

STRIP = 8  # rows of cells that are upsampled at a time


class FastBlock(nn.Module):
    """A RefineNet block whose full-size paths are added to the sum of upsampled ones by their last convolution.

    Args:
        block: the block; its weights are shared, except those of merged convolutions.
        parts: fast layers of each path before its upsampling (see ``paths_of``).
        pooling: fast form of the pooling chain; it may overwrite its input.
    """

    def __init__(self, block: RefineNetBlock, parts: list[list[nn.Module]], pooling: nn.Module) -> None:
        super().__init__()
        self.paths = nn.ModuleList(nn.ModuleList(path) for path in parts)
        self.pooling, self.output = pooling, block.output
        self.fusion = block.fusion

    def forward(self, *maps: Tensor | list[Tensor]) -> Tensor:
        """See RefineNetBlock; the maps are not modified."""
        waiting: list[Tensor] = as_list(maps, len(self.paths))
        del maps
        size = torch.Size(largest(waiting))
        x = self.pooling(self._fused(waiting, size))
        for unit in self.output:
            x = unit(x)
        return cast(Tensor, x)

    def _fused(self, waiting: list[Tensor], size: torch.Size) -> Tensor:
        """The sum of all paths, in new memory, as of ``MultiResolutionFusion.add_up``. The list is emptied."""
        total: Tensor | None = None
        before = 1
        for factor, level in self._levels(waiting, size):
            here = waiting[level[0]].shape[-2:]
            if self.fusion.in_steps:
                if total is not None:
                    total = self._upsampled(total, here, level[0], before // factor)
                total = self._added(level, waiting, total)
            elif factor == 1 and here == size:
                total = self._added(level, waiting, total)
            else:
                x = self._upsampled(self._added(level, waiting, None), size, level[0], factor)
                total = x if total is None else total.add_(x)
            before = factor
        waiting.clear()
        assert total is not None  # a block has at least one path
        return total

    def _levels(self, waiting: list[Tensor], size: torch.Size) -> list[tuple[int, list[int]]]:
        """The ratio of each stride to the finest, and its paths, coarsest first; maps of full size last."""
        factors = self.fusion.factors
        if factors is None:
            full = [index for index, x in enumerate(waiting) if x.shape[-2:] == size]
            others = [(1, [index]) for index in range(len(waiting)) if index not in full]
            return [*others, (1, full)] if full else others
        # The mean over the picture, of one cell, is added to the maps of its level.
        order = sorted(range(len(waiting)), key=lambda index: -waiting[index].shape[2:].numel())
        return [
            (factor, [index for index in order if factors[index] == factor])
            for factor in sorted(set(factors), reverse=True)
        ]

    def _added(self, level: list[int], waiting: list[Tensor], total: Tensor | None) -> Tensor:
        """Outputs of the paths of a level added to ``total``, in place if there is one; their maps are freed."""
        for index in level:
            x, parts = waiting[index], list(self.paths[index].children())
            waiting[index] = x.new_empty(0)
            alike = total is not None and x.shape[-2:] == total.shape[-2:]
            adds = alike and parts and isinstance(parts[-1], FusedConv)
            for part in parts[:-1] if adds else parts:
                x = part(x)
            if adds:
                total = cast(Tensor, parts[-1](x, total))
            elif total is not None:
                total.add_(x)
            else:
                total = x if parts else x.clone(memory_format=torch.channels_last)
        assert total is not None  # a level has at least one path
        return total

    def _upsampled(self, x: Tensor, size: torch.Size, index: int, factor: int) -> Tensor:
        """A map at the given size, channels last, so that convolutions can add to it in place."""
        if x.shape[-2:] == size and factor == 1:
            return x
        enough = size[0] <= x.shape[-2] * factor and size[1] <= x.shape[-1] * factor
        if self.fusion.factors is None:
            return self.fusion.upsample(x, size, index).contiguous(memory_format=torch.channels_last)
        if factor == 1 or not self.fusion.align_corners or not enough:
            x = upsample_on_grid(x, size, factor, self.fusion.align_corners)
            return x.contiguous(memory_format=torch.channels_last)
        # upsample_on_grid in strips: at once, the map is there a second time before it is cut.
        out = x.new_empty((*x.shape[:2], *size)).contiguous(memory_format=torch.channels_last)
        x = F.pad(x, (0, 1, 0, 1), mode="replicate")
        for top in starts(0, x.shape[-2] - 1, STRIP):
            cells = x[..., top : top + STRIP + 1, :]
            sides = [(side - 1) * factor + 1 for side in cells.shape[-2:]]
            rows = F.interpolate(cells, sides, mode="bilinear", align_corners=True)
            place = out[..., top * factor : (top + STRIP) * factor, :]
            place.copy_(rows[..., : place.shape[-2], : size[1]])
        return out


def paths_of(block: RefineNetBlock) -> list[list[nn.Module]]:
    """The modules of each path before its upsampling; the 1x1 convolutions of adaptation and fusion are merged."""
    paths = []
    for index, fusion in enumerate(block.fusion.convs):
        parts = list(block.adapt[index].children()) if index < len(block.adapt) else []
        parts += [] if isinstance(fusion, nn.Identity) else [fusion]
        if len(parts) == 2 and all(_mergeable(part) for part in parts):
            parts = [merged(cast(nn.Conv2d, parts[0]), cast(nn.Conv2d, parts[1]))]
        paths.append(parts)
    return paths


def _mergeable(part: nn.Module) -> bool:
    return (
        isinstance(part, nn.Conv2d)
        and fusable(part)
        and part.kernel_size == part.stride == (1, 1)
        and part.groups == 1
        and part.padding in ((0, 0), "same")
        and part.bias is None
    )


def merged(first: nn.Conv2d, second: nn.Conv2d) -> nn.Conv2d:
    """One 1x1 convolution in place of two without bias; the weights are multiplied in float64."""
    weight = second.weight.detach().flatten(1).double() @ first.weight.detach().flatten(1).double()
    return with_weights(second, weight.float()[:, :, None, None], None)
