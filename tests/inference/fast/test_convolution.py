"""Convolutions that sum and rectify, merged ones, and blocks of them, against plain operations."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from refineseg.inference.fast import convolution as fused
from refineseg.inference.fast.block import FastBlock, merged
from refineseg.inference.fast.convolution import Activation, FusedConv, can_fuse
from refineseg.inference.fast.fast_copy import _fast
from refineseg.inference.fast.winograd import Scratch
from refineseg.model.blocks import RefineNetBlock
from refineseg.model.memory_saving import FIRST_STRIP_ONLY

ACTS = {"none": nn.Identity(), "relu": nn.ReLU(), "relu6": nn.ReLU6()}


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture(params=[True, False], ids=["fused", "in three passes"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(fused, "can_fuse", lambda: False)
    elif not can_fuse():
        pytest.skip("this torch lacks the operations")


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "size"),
    [(1, 1, 1, (7, 5)), (3, 2, 1, (8, 9)), (3, 1, 8, (6, 6)), (1, 1, 1, (1, 1)), (3, 1, 1, (40, 33))],
)
@torch.inference_mode()
def test_sum_and_activation(
    activation: Activation, kernel: int, stride: int, groups: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    wide = 96 if size[0] > 30 else 8  # the last one goes by Winograd's way
    convolution = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=groups)
    x = last(torch.randn(2, wide, *size))
    plain = convolution(x)
    added = last(torch.randn_like(plain) * 3)
    kept = x.clone()
    part = FusedConv(convolution, activation, Scratch())
    torch.testing.assert_close(part(x), ACTS[activation](plain), rtol=1e-4, atol=1e-4)
    wanted = ACTS[activation](plain + added)
    torch.testing.assert_close(part(x, added), wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(x, kept)


@torch.inference_mode()
def test_two_convolutions_made_one() -> None:
    torch.manual_seed(0)
    one, two = nn.Conv2d(12, 7, 1, bias=False), nn.Conv2d(7, 5, 1, bias=False)
    x = torch.randn(1, 12, 4, 3)
    both = merged(one, two)
    assert (both.in_channels, both.out_channels) == (12, 5)
    torch.testing.assert_close(both(x), two(one(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("strides", [None, [16, 8, 8, 16]])
@torch.inference_mode()
def test_a_block_of_its_own(kernel: int, strides: list[int] | None) -> None:
    """Maps in any order of size; those that are given are left alone."""
    torch.manual_seed(0)
    block = RefineNetBlock(
        [9, 12, 7], [8, 8, 8], [10], rcus=kernel // 2, output_rcus=kernel // 2, kernel_size=kernel, strides=strides
    ).eval()
    maps = [torch.randn(1, *shape) for shape in ((9, 5, 6), (12, 9, 11), (7, 9, 11), (10, 5, 6))]
    maps = [last(x) for x in maps]
    kept = copy.deepcopy(maps)
    fast = _fast(copy.deepcopy(block), Scratch())
    assert isinstance(fast, FastBlock)
    torch.testing.assert_close(fast(*maps), block(*maps), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(x, y) for x, y in zip(maps, kept, strict=True))


@torch.inference_mode()
def test_a_single_path_without_convolutions_leaves_its_map_alone() -> None:
    block = RefineNetBlock([], [], [6], kernel_size=1, output_rcus=0).eval()
    x = last(torch.randn(1, 6, 5, 5))
    kept = x.clone()
    torch.testing.assert_close(_fast(copy.deepcopy(block), Scratch())(x), block(x), rtol=1e-4, atol=1e-4)
    assert torch.equal(x, kept)


@torch.inference_mode()
def test_planning_takes_torchs_own_operations() -> None:
    part = FusedConv(nn.Conv2d(4, 4, 1), "relu", Scratch())
    into = last(torch.zeros(1, 4, 3, 3))
    token = FIRST_STRIP_ONLY.set(True)
    try:
        assert part(into, into) is into
    finally:
        FIRST_STRIP_ONLY.reset(token)
