"""5x5 max-pooling in strips that stay in cache, without the index map that torch's own always makes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from refineseg.inference.fast.winograd import Scratch
from refineseg.inference.options import starts

REACH = 2  # pixels on either side
STRIP_BYTES = 1 << 20  # of a strip, for each thread: measured on 1 MiB of L2 and 16 of L3 a core
LEAST = float("-inf")


def pooled_strips(x: Tensor, scratch: Scratch) -> Iterator[tuple[int, int, Tensor]]:
    """5x5 max-pool of stride 1 that keeps height and width, of HxWxC: first and last row, and the rows hxWxC.

    The rows are scratch memory: they are overwritten by the next strip. Largest of 2, of 4, of 5, along the rows
    and then along the columns: six comparisons in place of 24.
    """
    height, width, channels = x.shape
    step = max(REACH, STRIP_BYTES * torch.get_num_threads() // (x.element_size() * width * channels))
    wide = width + 2 * REACH
    for top in starts(0, height, step):
        bottom = min(top + step, height)
        rows = bottom - top
        strip = scratch.take("strip", rows + 2 * REACH, wide, channels)
        first, last = max(top - REACH, 0), min(bottom + REACH, height)
        before, after = first - top + REACH, last - top + REACH
        strip[:before].fill_(LEAST)
        strip[after:].fill_(LEAST)
        strip[before:after, :REACH].fill_(LEAST)
        strip[before:after, width + REACH :].fill_(LEAST)
        strip[before:after, REACH : width + REACH].copy_(x[first:last])
        two = scratch.take("half", rows + 3, wide, channels)
        four = scratch.take("ready", rows + 1, wide, channels)
        torch.maximum(strip[:-1], strip[1:], out=two)
        torch.maximum(two[:-2], two[2:], out=four)
        five = two[:rows]
        torch.maximum(four[:rows], strip[4:], out=five)
        two = four[:rows, :-1]
        torch.maximum(five[:, :-1], five[:, 1:], out=two)
        four = strip[:rows, : width + 1]
        torch.maximum(two[:, :-2], two[:, 2:], out=four)
        found = scratch.take("products", rows, width, channels)
        torch.maximum(four[:, :width], five[:, 4:], out=found)
        yield top, bottom, found
