"""Batch norm in the decoder: an option, folded away for prediction."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from refineseg.deploy.trace import trace
from refineseg.inference.fast import specialise
from refineseg.info import ModelInfo
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.normed import NormedConv, fold_norms
from refineseg.model.refinenet import RefineNet
from refineseg.model.weights import load_model_folder, save_model_folder

SMALL: dict[str, Any] = {"width": 32, "coarse_width": 32, "rcus": 1, "output_rcus": 1, "crp_stages": 2}


def trained(preset: str, **fields: Any) -> RefineNet:
    """A network whose norms are not the identity."""
    torch.manual_seed(0)
    model = create_model(preset, 5, decoder_norm="batch", init="default", **fields).eval()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
    return model


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def test_the_published_network_has_none() -> None:
    plain = create_model("refinenet-r18", 5, **SMALL)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in plain.decoder.modules())
    normed = create_model("refinenet-r18", 5, decoder_norm="batch", **SMALL)
    convolutions = [part for part in plain.decoder.modules() if isinstance(part, nn.Conv2d)]
    assert sum(isinstance(part, NormedConv) for part in normed.decoder.modules()) == len(convolutions)
    assert type(normed.classifier) is nn.Conv2d


@pytest.mark.parametrize(
    ("preset", "fields"),
    [("refinenet-lw-mbv2", {}), ("refinenet-r18", SMALL), ("refinenet-lw-r50", {"pooling": "improved"})],
)
@torch.no_grad()
def test_prediction_and_exports_fold_it(preset: str, fields: dict[str, Any]) -> None:
    model = trained(preset, **fields)
    x = torch.rand(1, 3, 65, 90).contiguous(memory_format=torch.channels_last)
    wanted = copy.deepcopy(model).double()(x.double(), upsample=False)
    folded = copy.deepcopy(model)
    fold_norms(folded)
    for network in (model, folded, specialise(model)):
        assert error(network(x, upsample=False), wanted) < 2e-5
    assert not any(isinstance(part, nn.BatchNorm2d) for part in specialise(model).decoder.modules())


@torch.no_grad()
def test_a_traced_program_has_none() -> None:
    model = trained("refinenet-r18", **SMALL)
    program = trace(model)
    assert not any("batch_norm" in str(node.target) for node in program.graph.nodes)
    x = torch.rand(1, 3, 65, 90)
    assert error(program.module()(x), model(x, upsample=False)) < 2e-5


@torch.no_grad()
def test_a_model_folder_keeps_it(tmp_path: Path) -> None:
    model = trained("refinenet-r18", **SMALL)
    save_model_folder(tmp_path / "a", model, ModelInfo("a", LabelMap.from_names(list("abcde"))))
    again, _ = load_model_folder(tmp_path / "a")
    x = torch.rand(1, 3, 32, 40)
    assert torch.equal(again.eval()(x), model(x))


def test_it_is_trained() -> None:
    model = create_model("refinenet-r18", 5, decoder_norm="batch", **SMALL).train()
    model(torch.rand(2, 3, 64, 64)).square().mean().backward()
    norms = [part for part in model.decoder.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(part.weight.grad is not None for part in norms)
    assert any(float(part.running_mean.abs().sum()) > 0 for part in norms if part.running_mean is not None)
