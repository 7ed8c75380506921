"""Sizes in whole numbers, in-place operations, traced programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from refineseg.config import scaled
from refineseg.deploy.trace import out_of_place, trace
from refineseg.model import RefineNet
from tests.deploy.made import small
from tests.model.filled import picture


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.6, 0.75, 1.2, 1.25, 1.5])
def test_scaled_rounds_as_python_does(scale: float) -> None:
    assert [scaled(n, scale) for n in range(1, 2000)] == [max(1, round(n * scale)) for n in range(1, 2000)]


class Blocks(nn.Module):
    """In-place operations: of a fresh value, and of one that is read again."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        fresh = (images + 1).relu_()
        kept = images * 2
        kept.add_(fresh)
        return kept + fresh


def test_in_place_operations_are_replaced_where_nobody_reads_the_old_value() -> None:
    x = torch.randn(1, 3, 4, 4)
    program = torch.export.export(Blocks(), (x,))
    out_of_place(program)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert "aten.relu.default" in names
    assert "aten.add_.Tensor" in names  # ``kept`` is read after it
    torch.testing.assert_close(program.module()(x), Blocks()(x))


@pytest.fixture(scope="module")
def model() -> RefineNet:
    return small()


def test_the_program_takes_any_size_and_the_model_stays(model: RefineNet) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    program = trace(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any("batch_norm" in str(node.target) for node in program.graph.nodes)
    assert not any("stack_trace" in node.meta for node in program.graph.nodes)
    module = program.module()
    module._forward_pre_hooks.clear()
    for size in ((1, 1), (45, 61), (64, 96)):
        x = picture(*size, 2)
        with torch.no_grad():
            wanted = model(x, upsample=False)
        np.testing.assert_allclose(module(x).detach(), wanted, atol=1e-4 * float(wanted.std()))
