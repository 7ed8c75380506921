"""Gradients not to be relied on: one that torch gets wrong is avoided, one that is not finite ends the run."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.errors import InputError
from refineseg.training.loop import train
from refineseg.training.parallel import Float32OnCpu, use_float32_depthwise
from tests.data.made import make_folder

CONVOLUTIONS = {
    "dilated": nn.Conv2d(192, 192, 3, padding=2, dilation=2, groups=192, bias=False),
    "strided": nn.Conv2d(64, 64, 3, 2, padding=1, groups=64, bias=False),
    "5x5": nn.Conv2d(64, 64, 5, padding=2, groups=64, bias=False),
    "same padding": Conv2dSame(64, 64, 3, 2, groups=64, bias=False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_depthwise_convolutions_have_right_gradients_in_bf16(name: str) -> None:
    torch.manual_seed(0)
    exact = copy.deepcopy(CONVOLUTIONS[name])
    guarded = nn.Sequential(copy.deepcopy(exact)).to(memory_format=torch.channels_last)
    use_float32_depthwise(guarded)
    for _ in range(4):
        x = torch.randn(4, exact.in_channels, 52, 52)
        exact.zero_grad()
        guarded.zero_grad()
        logits = exact(x)
        upstream = torch.randn_like(logits)
        logits.backward(upstream)
        with torch.autocast("cpu", torch.bfloat16):
            given = guarded(x.contiguous(memory_format=torch.channels_last).bfloat16())
        assert given.dtype == torch.bfloat16
        given.backward(upstream.contiguous(memory_format=torch.channels_last).bfloat16())
        expected, found = exact.weight.grad, next(guarded.parameters()).grad
        assert expected is not None
        assert found is not None
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()


def test_only_the_depthwise_convolutions_that_need_it_are_computed_in_float32() -> None:
    plain = nn.Sequential(nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 3, 2, groups=4))
    needed = nn.Sequential(*copy.deepcopy(list(CONVOLUTIONS.values())))
    for module in (plain, needed):
        use_float32_depthwise(module)
        use_float32_depthwise(module)  # does nothing the second time
    assert [type(module) for module in plain] == [nn.Conv2d] * 3
    assert [type(module).__mro__[1:3] for module in needed] == [(Float32OnCpu, nn.Conv2d)] * 3 + [
        (Float32OnCpu, Conv2dSame)
    ]


class Exploding(torch.autograd.Function):
    """The identity, with a gradient that overflows."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_ctx: Any, upstream: Tensor) -> Tensor:
        return upstream * math.inf


def test_a_gradient_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    calls = []

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        calls.append(1)
        value = F.cross_entropy(logits, labels, ignore_index=255)
        return Exploding.apply(value) if len(calls) == 2 else value

    config = TrainConfig(
        fields={"width": 16, "coarse_width": 16},
        augment=AugmentConfig(crop=(32, 32)),
        steps=4,
        batch_size=2,
        workers=0,
    )
    data = open_data(f"folder:{make_folder(tmp_path, pictures=6)}")
    with pytest.raises(InputError, match=r"gradient.*(inf|nan) at step 2\b"):
        train(config, data, tmp_path / "run", loss=loss, device="cpu")
    calls.clear()
    train(dataclasses.replace(config, steps=1), data, tmp_path / "other", loss=loss, device="cpu")
