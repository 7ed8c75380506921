"""torch.compile, which `compile: true` of a training calls: the network's own logits and gradients."""

from __future__ import annotations

import copy

import pytest
import torch

from refineseg import create_model


@pytest.mark.slow
@pytest.mark.parametrize("aligned", [False, True])
def test_compiled_logits_and_gradients_are_the_eager_ones(aligned: bool) -> None:
    torch.manual_seed(0)
    model = create_model(
        "refinenet-lw-mbv2", 3, width=16, coarse_width=16, align_corners=aligned, exact_strides=aligned
    )
    model = model.double().to(memory_format=torch.channels_last).train()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    found = []
    for compiled in (False, True):
        network = copy.deepcopy(model)
        logits = (torch.compile(network) if compiled else network)(images)
        loss = (logits * torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)).mean()
        loss.backward()
        gradients = [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
        found.append((logits.detach(), torch.cat(gradients)))
    for eager, own in zip(*found, strict=True):
        assert float((eager - own).norm() / eager.norm()) < 1e-9
