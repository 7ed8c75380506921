"""Gradients not to be relied on: one that torch gets wrong is avoided, one that is not finite ends the run."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.errors import InputError
from refineseg.training.loop import train
from refineseg.training.parallel import use_float32_depthwise
from tests.data.made import make_folder


def test_dilated_depthwise_convolutions_have_right_gradients_in_bf16() -> None:
    torch.manual_seed(0)
    exact = nn.Conv2d(192, 192, 3, padding=2, dilation=2, groups=192, bias=False)
    guarded = nn.Sequential(copy.deepcopy(exact)).to(memory_format=torch.channels_last)
    use_float32_depthwise(guarded)
    for _ in range(4):
        x, upstream = torch.randn(4, 192, 52, 52), torch.randn(4, 192, 52, 52)
        exact.zero_grad()
        guarded.zero_grad()
        exact(x).backward(upstream)
        with torch.autocast("cpu", torch.bfloat16):
            given = guarded(x.contiguous(memory_format=torch.channels_last).bfloat16())
        assert given.dtype == torch.bfloat16
        given.backward(upstream.contiguous(memory_format=torch.channels_last).bfloat16())
        expected, found = exact.weight.grad, next(guarded.parameters()).grad
        assert expected is not None
        assert found is not None
        assert (found - expected).abs().max() < 0.02 * expected.abs().max()


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
