"""Fast forms of MobileNet-v2's block, in which its wide map, six times the channels of its input, never exists."""

from __future__ import annotations

from math import ceil
from typing import cast

import torch
from torch import Tensor, nn

from refineseg.inference.fast.convolution import FusedConv, convolution_of, with_weights
from refineseg.inference.fast.winograd import Scratch
from refineseg.model.backbones.mobilenet import InvertedResidual
from refineseg.model.memory_saving import starts

STRIP_BYTES = 4 << 20  # bytes of the wide map in a strip of rows, for every two threads
GROUP = 192  # channels of the wide map at a time in a dilated block


class FastInverted(nn.Module):
    """Fast form of a MobileNet block with folded norms, in strips of rows: the full wide map never exists."""

    def __init__(self, block: InvertedResidual, scratch: Scratch) -> None:
        super().__init__()
        *first, last = block.names
        self.first = nn.Sequential(*(FusedConv(convolution_of(block, name), "relu6", scratch) for name in first))
        self.last = FusedConv(convolution_of(block, last), "none", scratch)
        self.stride = convolution_of(block, first[-1]).stride[0]
        self.skip = block.skip

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxhxw, channels last; x, which no other block reads, may be overwritten."""
        batch, _, height, width = x.shape
        last, stride = self.last.convolution, self.stride
        rows, columns = ceil(height / stride), ceil(width / stride)
        per_row = stride * width * last.in_channels * x.element_size()
        strips = ceil(rows * per_row / (STRIP_BYTES * max(1, torch.get_num_threads() // 2)))
        step = max(2, ceil(rows / strips))
        if step >= rows:
            result: Tensor = self.last(self.first(x), x if self.skip else None)
            return result
        out = x.new_empty(batch, rows, columns, last.out_channels).permute(0, 3, 1, 2)
        for index in range(batch):
            picture, target = x[index : index + 1], out[index : index + 1]
            for top in starts(0, rows, step):
                bottom = min(top + step, rows)
                above = min(top, 1)  # the 3x3 convolution needs a row on either side; their outputs are cut off
                strip = picture[:, :, stride * (top - above) : stride * bottom + 1]
                y = self.last(self.first(strip)[:, :, above : above + bottom - top])
                if self.skip:
                    y.add_(picture[:, :, top:bottom])
                target[:, :, top:bottom] = y
        return out


class FastDilated(nn.Module):
    """Fast form of a dilated block with folded norms: groups of wide channels, whose projections are added up.

    Strips of rows would each need many rows on either side.
    """

    def __init__(self, block: InvertedResidual, scratch: Scratch) -> None:
        super().__init__()
        expand, by_channel, project = (convolution_of(block, name) for name in block.names)
        self.groups, self.skip = nn.ModuleList(), block.skip
        for start in range(0, project.in_channels, GROUP):
            group = slice(start, start + GROUP)
            wide = [FusedConv(_part(part, outputs=group), "relu6", scratch) for part in (expand, by_channel)]
            narrow = FusedConv(_part(project, inputs=group, bias=start == 0), "none", scratch)
            self.groups.append(nn.ModuleList([nn.Sequential(*wide), narrow]))

    def forward(self, x: Tensor) -> Tensor:
        """BxCxHxW to BxKxHxW, channels last; x is not modified."""
        out = x.clone(memory_format=torch.channels_last) if self.skip else None
        for index in starts(0, len(self.groups), 1):
            wide, narrow = self.groups[index].children()
            out = narrow(wide(x), out)
        return cast(Tensor, out)


def _part(
    convolution: nn.Conv2d, *, inputs: slice = slice(None), outputs: slice = slice(None), bias: bool = True
) -> nn.Conv2d:
    """The convolution with some of its channels; whole rows of weights are shared."""
    weight = convolution.weight.detach()[outputs, inputs].contiguous()
    kept = convolution.bias.detach()[outputs] if bias and convolution.bias is not None else None
    return with_weights(convolution, weight, kept)
