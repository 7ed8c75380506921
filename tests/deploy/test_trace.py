"""Folding of batch norms, sizes in whole numbers, traced programs."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from refineseg.config import scaled
from refineseg.deploy.trace import fold_batch_norms, out_of_place, trace
from refineseg.model import RefineNet, create_model
from tests.deploy.made import small, spread
from tests.model.filled import picture

FOLDED = {"mbv2": 51 + 1, "r18": 20}  # batch norms of MobileNet-v2 1.0 (released form) and ResNet-18


@pytest.mark.parametrize("name", list(FOLDED))
def test_folding_keeps_the_function_and_leaves_no_norm(name: str) -> None:
    preset = {"mbv2": "refinenet-lw-mbv2-released", "r18": "refinenet-lw-r18"}[name]
    model = spread(create_model(preset, 5, width=16, coarse_width=16))
    folded = copy.deepcopy(model)
    x = picture(61, 75, 2)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert fold_batch_norms(folded, x) == len(norms) == FOLDED[name]
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        wanted, found = model(x, upsample=False), folded(x, upsample=False)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4 * float(wanted.std()))


def test_a_norm_by_hand() -> None:
    """(w x + b - mean) / sqrt(var + eps) * g + h with one weight."""
    model = small()
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    first = next(module for module in model.modules() if type(module) is nn.Conv2d)
    before = first.weight[0].clone()
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight[0] / (norm.running_var[0] + norm.eps) ** 0.5
    shift = norm.bias[0] - norm.running_mean[0] * scale
    fold_batch_norms(model, picture(40, 40))
    assert first.bias is not None
    torch.testing.assert_close(first.weight[0], before * scale)
    torch.testing.assert_close(first.bias[0], shift)


class Twice(nn.Module):
    """One convolution that two batch norms follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor, upsample: bool) -> torch.Tensor:
        result: torch.Tensor = self.one(self.conv(images)) + self.two(self.conv(images))
        return result


def test_what_is_used_twice_is_left_alone() -> None:
    twice = Twice().eval()
    assert fold_batch_norms(twice, picture(4, 4)) == 0  # type: ignore[arg-type]
    assert isinstance(twice.one, nn.BatchNorm2d)


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
    assert not any("stack_trace" in node.meta for node in program.graph.nodes)
    module = program.module()
    module._forward_pre_hooks.clear()
    for size in ((1, 1), (45, 61), (64, 96)):
        x = picture(*size, 2)
        with torch.no_grad():
            wanted = model(x, upsample=False)
        np.testing.assert_allclose(module(x).detach(), wanted, atol=1e-4 * float(wanted.std()))
