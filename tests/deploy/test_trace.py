"""Sizes in whole numbers, in-place operations, traced programs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim

from refineseg.config import scaled
from refineseg.deploy.trace import CeilingPool, Exportable, out_of_place, trace
from refineseg.model.resize import bicubic
from tests.deploy.made import small


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.6, 0.75, 1.2, 1.25, 1.5])
def test_scaled_rounds_as_python_does(scale: float) -> None:
    assert [scaled(n, scale) for n in range(1, 2000)] == [max(1, round(n * scale)) for n in range(1, 2000)]


class Blocks(nn.Module):
    """In-place operations of values that nobody else reads."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fresh = (images + 1).relu_()
        kept = images * 2
        kept.add_(fresh)
        return kept.clamp_(max=2.0) + fresh


def test_in_place_operations_become_plain_ones() -> None:
    x = torch.randn(1, 3, 4, 4)
    program = torch.export.export(Blocks(), (x,))
    out_of_place(program)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert "aten.relu.default" in names
    assert not [name for name in names if name.split(".")[1].endswith("_")]
    torch.testing.assert_close(program.module()(x), Blocks()(x))


def test_pooling_of_maps_of_one_cell_needs_no_window_beyond_the_map() -> None:
    ceiling = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
    network = nn.Sequential(ceiling, nn.AvgPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2))
    CeilingPool.replace_in(network)
    assert [type(part).__name__ for part in network] == ["CeilingPool", "AvgPool2d", "AvgPool2d"]
    for size in ((1, 1), (1, 6), (7, 1), (5, 8)):
        x = torch.rand(2, 3, *size)
        torch.testing.assert_close(network[0](x), ceiling(x))


class Resize(nn.Module):
    """The authors' upsampling of a map to the size of a finer one."""

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        return bicubic(coarse, fine.shape[-2:], one_ratio=True)


def test_bicubic_upsampling_is_not_fixed_to_the_traced_proportions() -> None:
    """Both sides take the larger ratio: the traced map's is its width's, here also heights' and shrinking ones."""
    sides = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    traced = (torch.rand(2, 3, 9, 7), torch.rand(2, 1, 17, 14))
    program = torch.export.export(Resize(), traced, dynamic_shapes=(sides, sides), strict=False).module()
    program._forward_pre_hooks.clear()
    for coarse, fine in (((9, 7), (17, 14)), ((7, 9), (14, 17)), ((9, 7), (18, 13)), ((12, 12), (5, 10))):
        x, y = torch.rand(1, 3, *coarse), torch.rand(1, 1, *fine)
        torch.testing.assert_close(program(x, y), Resize()(x, y))


@pytest.mark.slow
def test_the_model_stays_and_its_norms_are_folded_in_the_program() -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    program = trace(Exportable(model)).program
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("batch_norm" in str(node.target) for node in program.graph.nodes)
    assert not any("stack_trace" in node.meta for node in program.graph.nodes)
