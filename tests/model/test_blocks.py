"""The block's parts against slow, literal array_ops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.model import ChainedResidualPooling, MultiResolutionFusion, RefineNetBlock, ResidualConvUnit
from refineseg.model.resize import upsample_on_grid
from tests.model.filled import fill


def maximum_of_window(x: Tensor) -> Tensor:
    """5x5 max of every pixel by loops over the picture, the window cut at the border."""
    out = torch.empty_like(x)
    height, width = x.shape[-2:]
    for i in range(height):
        for j in range(width):
            window = x[..., max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
            out[..., i, j] = window.amax((-2, -1))
    return out


def test_rcu_by_hand() -> None:
    unit = ResidualConvUnit(1, kernel_size=1)
    nn.init.constant_(unit.conv1.weight, 2.0)
    assert unit.conv1.bias is not None
    nn.init.constant_(unit.conv1.bias, -1.0)
    nn.init.constant_(unit.conv2.weight, 3.0)
    x = torch.tensor([-2.0, 0.25, 2.0]).view(1, 1, 1, 3)
    # relu: 0, 0.25, 2; conv1: -1, -0.5, 3; relu: 0, 0, 3; conv2: 0, 0, 9; + x (not relu(x))
    assert unit(x).flatten().tolist() == [-2.0, 0.25, 11.0]
    assert unit.conv2.bias is None


@pytest.mark.parametrize("grad", [True, False])
def test_parts_do_not_modify_their_input(grad: bool) -> None:
    x = torch.randn(2, 4, 6, 5)
    kept = x.clone()
    parts: list[nn.Module] = [
        ResidualConvUnit(4),
        ChainedResidualPooling(4),
        ChainedResidualPooling(4, pooling="improved"),
        MultiResolutionFusion([4]),
        RefineNetBlock([4], 4),
        RefineNetBlock([4, 4], 4, [4], kernel_size=1, lateral_fusion=False),
    ]
    with torch.set_grad_enabled(grad):
        for part in parts:
            inputs = getattr(part, "inputs", 1)
            part(*[x] * inputs)
            assert torch.equal(x, kept), type(part)


@pytest.mark.parametrize("pooling", ["original", "improved"])
def test_chained_residual_pooling_is_the_literal_chain(pooling: str) -> None:
    crp = ChainedResidualPooling(3, stages=3, pooling=pooling)  # type: ignore[arg-type]
    fill(crp)
    x = torch.randn(2, 3, 7, 9)
    base = x.clamp(min=0)
    total, stage = base, base
    for convolution in crp.convs:
        assert isinstance(convolution, nn.Conv2d)
        if pooling == "original":
            stage = F.conv2d(maximum_of_window(stage), convolution.weight, padding=1)
        else:
            stage = maximum_of_window(F.conv2d(stage, convolution.weight, padding=1))
        total = total + stage
    torch.testing.assert_close(crp(x), total)
    with torch.no_grad():
        torch.testing.assert_close(crp(x), total)


def test_the_two_poolings_differ() -> None:
    first, second = ChainedResidualPooling(3), ChainedResidualPooling(3, pooling="improved")
    second.load_state_dict(first.state_dict())
    x = torch.randn(1, 3, 8, 8)
    assert not torch.allclose(first(x), second(x))


def test_fusion_by_hand() -> None:
    fusion = MultiResolutionFusion([1, 2], kernel_size=1)
    assert fusion.out_channels == 1
    with torch.no_grad():
        for path, weights in zip(fusion.convs, ([2.0], [1.0, -1.0]), strict=True):
            assert isinstance(path, nn.Conv2d)
            path.weight.copy_(torch.tensor(weights).view(1, -1, 1, 1))
    fine = torch.ones(1, 1, 3, 3)
    coarse = torch.stack([torch.tensor([[4.0, 8.0], [4.0, 8.0]]), torch.zeros(2, 2)])[None]
    # corners aligned: columns 4, 6, 8; plus 2 from the fine map
    expected = torch.tensor([6.0, 8.0, 10.0]).expand(3, 3)
    assert torch.equal(fusion(fine, coarse)[0, 0], expected)
    assert torch.equal(fusion([fine, coarse])[0, 0], expected)


def test_fusion_by_exact_strides_by_hand() -> None:
    fusion = MultiResolutionFusion([1, 1], [False, False], align_corners=False, strides=[4, 8])
    fine, coarse = torch.zeros(1, 1, 1, 3), torch.tensor([[[[0.0, 8.0]]]])
    # 2 cells are 4 of half the size, of which 3 are in the picture; resizing to 3 would give 0, 4, 8
    assert torch.equal(fusion(fine, coarse)[0, 0, 0], torch.tensor([0.0, 2.0, 6.0]))
    assert torch.equal(fine, torch.zeros(1, 1, 1, 3))  # maps of the caller are not written to
    assert torch.equal(fusion(coarse, coarse[..., :1])[0, 0, 0], torch.tensor([0.0, 8.0]))
    cornered = MultiResolutionFusion([1, 1], [False, False], align_corners=True, strides=[4, 8])
    # cell i of the coarse map is at cell 2 i of the fine one, and the last is repeated beyond
    assert torch.equal(cornered(fine, coarse)[0, 0, 0], torch.tensor([0.0, 4.0, 8.0]))
    assert torch.equal(cornered(torch.zeros(1, 1, 1, 4), coarse)[0, 0, 0], torch.tensor([0.0, 4.0, 8.0, 8.0]))
    with pytest.raises(ValueError, match="multiples of the smallest"):
        MultiResolutionFusion([1, 1], strides=[4, 6])


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("strides", [[4, 8, 16, 16, 32], [32, 16, 16, 8, 4], [8, 4, 32, 8, 32], [4, 12, 8, 4, 8]])
@pytest.mark.parametrize("size", [(1, 1), (64, 96), (97, 131), (33, 31)])
def test_maps_added_at_their_stride_are_the_sum_of_all_upsampled(
    size: tuple[int, int], strides: list[int], align_corners: bool
) -> None:
    torch.manual_seed(0)
    fusion = MultiResolutionFusion([2] * 5, [False] * 5, align_corners=align_corners, strides=strides)
    maps = [torch.randn(1, 2, *(-(-side // stride) for side in size), dtype=torch.float64) for stride in strides]
    finest = [-(-side // 4) for side in size]
    ratios = [stride // 4 for stride in strides]
    alone = [upsample_on_grid(x, finest, ratio, align_corners) for x, ratio in zip(maps, ratios, strict=True)]
    assert (fusion(*maps) - sum(alone)).abs().max() < 1e-13


def test_single_path_fusion_is_the_identity() -> None:
    fusion = MultiResolutionFusion([5])
    x = torch.randn(1, 5, 3, 4)
    assert torch.equal(fusion(x), x)
    assert not list(fusion.parameters())


def test_a_given_list_is_emptied_and_maps_are_freed() -> None:
    block = RefineNetBlock([8, 4], 4).eval()
    maps = [torch.randn(1, 8, 2, 2), torch.randn(1, 4, 4, 4)]
    with torch.no_grad():
        block(maps)
    assert maps == []


def test_block_takes_any_number_of_maps_of_any_size() -> None:
    block = RefineNetBlock([3, 5, 7], [8, 8, 16], refined_channels=[12], rcus=1, crp_stages=2, output_rcus=1)
    maps = [torch.randn(2, 3, 9, 11), torch.randn(2, 5, 1, 1), torch.randn(2, 7, 4, 20), torch.randn(2, 12, 5, 5)]
    assert block(*maps).shape == (2, 8, 9, 20)
    assert block.out_channels == 8


def test_block_says_what_is_wrong() -> None:
    block = RefineNetBlock([3, 5], 4)
    with pytest.raises(ValueError, match="expected 2 input maps, got 1"):
        block(torch.randn(1, 3, 4, 4))
    with pytest.raises(ValueError, match="one width per map"):
        RefineNetBlock([3, 5], [4])
    with pytest.raises(ValueError, match="at least one input"):
        RefineNetBlock([])
    with pytest.raises(ValueError, match="'original' or 'improved'"):
        ChainedResidualPooling(4, pooling="new")  # type: ignore[arg-type]


def test_identity_paths_carry_the_input_through() -> None:
    """With all residual branches at zero, a block of one input is adaptation then ReLU (section 3.3)."""
    block = RefineNetBlock([4], 4, kernel_size=1)
    for name, parameter in block.named_parameters():
        if not name.startswith("adapt.0.0"):
            nn.init.zeros_(parameter)
    convolution = block.adapt[0].get_submodule("0")
    assert isinstance(convolution, nn.Conv2d)
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(block(x), F.relu(convolution(x)))
