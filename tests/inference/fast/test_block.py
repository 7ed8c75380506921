"""The fast block's own ways: maps upsampled in strips, and pooled ones added while they are made."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from refineseg.inference.fast.block import FastBlock, paths_of
from refineseg.inference.fast.pooling import FastPooling
from refineseg.inference.fast.winograd import Scratch
from refineseg.model.blocks import RefineNetBlock
from refineseg.model.memory_saving import STRIP_BYTES


def make_block(**settings: Any) -> RefineNetBlock:
    return RefineNetBlock(
        [24, 16],
        [24, 16],
        [],
        rcus=0,
        refined_rcus=0,
        pooling="original",
        output_rcus=0,
        kernel_size=1,
        lateral_fusion=False,
        activation=nn.ReLU6,
        upsampling="bilinear",
        **settings,
    ).eval()


@pytest.mark.parametrize("stages", [1, 2, 4])
@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("cells", [(1, 3), (20, 17), (8, 5), (17, 4)])
@pytest.mark.parametrize("cut", [(0, 0), (1, 0), (1, 1)])
def test_a_block_in_strips_is_the_block(
    monkeypatch: pytest.MonkeyPatch,
    stages: int,
    align_corners: bool,
    factor: int,
    cells: tuple[int, int],
    cut: tuple[int, int],
) -> None:
    monkeypatch.setitem(STRIP_BYTES, "cpu", 1 << 13)  # several strips of pooling
    torch.manual_seed(0)
    block = make_block(crp_stages=stages, align_corners=align_corners, strides=[factor, 1])
    fast = FastBlock(block, paths_of(block), FastPooling(copy.deepcopy(block.pooling), Scratch()))
    height, width = (side * factor - less for side, less in zip(cells, cut, strict=True))
    maps = [torch.randn(2, 24, *cells), torch.randn(2, 16, height, width)]
    maps = [x.contiguous(memory_format=torch.channels_last) for x in maps]
    before = [x.clone() for x in maps]
    with torch.inference_mode():
        expected, given = block(*maps), fast(*maps)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(x, y) for x, y in zip(maps, before, strict=True))
