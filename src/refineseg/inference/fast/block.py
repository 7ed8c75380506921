"""A RefineNet block for inference, with fewer passes over its maps and with pairs of 1x1 convolutions merged."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.inference.fast.convolution import FusedConv, fusable
from refineseg.model.blocks import RefineNetBlock, as_list, largest
from refineseg.model.memory_saving import starts

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
        self.factors, self.upsample = block.fusion.factors, block.fusion.upsample
        self.align_corners = block.fusion.align_corners

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
        """The sum of all paths, in new memory. The list is emptied."""
        factors = self.factors or [1] * len(waiting)
        full = [x.shape[-2:] == size and factor == 1 for x, factor in zip(waiting, factors, strict=True)]
        queue: list[tuple[int, Tensor]] = sorted(enumerate(waiting), key=lambda item: full[item[0]])
        waiting.clear()
        total: Tensor | None = None
        while queue:
            index, x = queue.pop(0)
            parts = list(self.paths[index].children())
            adds = full[index] and total is not None and parts and isinstance(parts[-1], FusedConv)
            for part in parts[:-1] if adds else parts:
                x = part(x)
            if adds:
                total = cast(FusedConv, parts[-1])(x, total)
                continue
            if not full[index]:
                x = self._upsampled(x, size, index)
            if total is not None:
                total.add_(x)
            else:
                total = x if parts or not full[index] else x.clone(memory_format=torch.channels_last)
        assert total is not None  # a block has at least one path
        return total

    def _upsampled(self, x: Tensor, size: torch.Size, index: int) -> Tensor:
        """The map of a path at the block's size, channels last, so that convolutions can add to it in place."""
        factor = self.factors[index] if self.factors else 1
        enough = size[0] <= x.shape[-2] * factor and size[1] <= x.shape[-1] * factor
        if factor == 1 or not self.align_corners or not enough:
            return self.upsample(x, size, index).contiguous(memory_format=torch.channels_last)
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
    own = {id(second.weight): second.weight}
    result = copy.deepcopy(second, own)
    result.in_channels = first.in_channels
    result.weight = nn.Parameter(weight.float()[:, :, None, None], requires_grad=False)
    return result
