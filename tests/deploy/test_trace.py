"""Sizes in whole numbers, in-place operations, traced programs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from refineseg.config import scaled
from refineseg.deploy.trace import out_of_place, trace
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


@pytest.mark.slow
def test_the_model_stays_and_its_norms_are_folded_in_the_program() -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    program = trace(model).program
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("batch_norm" in str(node.target) for node in program.graph.nodes)
    assert not any("stack_trace" in node.meta for node in program.graph.nodes)
