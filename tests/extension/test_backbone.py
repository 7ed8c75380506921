"""Backbones from outside the package: any module that gives maps, and names registered by an entry point."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refineseg import create_model
from refineseg.errors import ConfigError, InputError
from refineseg.labels import LabelMap
from refineseg.model.backbones.backbone import GROUP
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import load_model_folder, save_model_folder

SMALL: dict[str, Any] = {"width": 8, "coarse_width": 8}

# What another distribution would ship as its_package/pyramid.py.
PYRAMID = """
from torch import nn


class Pyramid(nn.Module):
    channels = [6, 12]
    strides = [4, 8]

    def __init__(self, in_channels):
        super().__init__()
        self.fine = nn.Conv2d(in_channels, 6, 7, stride=4, padding=3)
        self.coarse = nn.Conv2d(6, 12, 3, stride=2, padding=1)

    def forward(self, image):
        fine = self.fine(image)
        return {"fine": fine, "coarse": self.coarse(fine)}
"""


class Halving(nn.Module):
    """Three maps, at strides 2, 4 and 8, as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4 * i, 4 * (i + 1), 3, 2, 1) for i in range(3))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for step in self.steps:
            image = step(image).relu()
            maps.append(image)
        return tuple(maps)


def test_any_module_is_a_backbone(tmp_path: Path) -> None:
    net = Halving()
    model = create_model("refinenet-r18", 3, backbone=net, channels=[4, 8, 12], strides=[2, 4, 8], **SMALL).eval()
    image = torch.rand(1, 3, 33, 47)
    logits = model(image)
    assert logits.shape == (1, 3, 33, 47)
    assert len(model.decoder.blocks) == 3
    model.train()(image).mean().backward()
    assert net.steps[0].weight.grad is not None
    save_model_folder(tmp_path / "model", model.eval(), ModelCard("x", LabelMap.from_names(["a", "b", "c"])))
    with pytest.raises(ConfigError, match="backbone=MODULE"):
        load_model_folder(tmp_path / "model")
    loaded, _ = load_model_folder(tmp_path / "model", backbone=Halving(), channels=[4, 8, 12], strides=[2, 4, 8])
    assert torch.equal(loaded(image), logits)


def test_two_scales_have_two_copies() -> None:
    fields: dict[str, Any] = {
        "backbone": Halving(),
        "channels": (4, 8, 12),
        "strides": (2, 4, 8),
        "input_scales": (1.0, 0.5),
    }
    model = create_model("refinenet-r18", 3, **SMALL, **fields)
    first, second = model.each_backbone()
    assert first is not second
    assert model(torch.rand(1, 3, 40, 40)).shape == (1, 3, 40, 40)


@pytest.mark.parametrize(
    ("channels", "strides", "message"),
    [
        ([4, 8], [2, 4], r"got \[\(4, 4, 6\), \(8, 2, 3\), \(12, 1, 2\)\]"),
        ([4, 8, 13], [2, 4, 8], "maps with channels"),
        ([4, 8, 12], [4, 8, 16], "strides"),
        (None, None, "pass both, or set them as attributes"),
    ],
)
def test_wrong_descriptions_are_told(channels: list[int] | None, strides: list[int] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        create_model("refinenet-r18", 3, backbone=Halving(), channels=channels, strides=strides)


def test_a_module_that_fails_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot run Halving"):
        create_model("refinenet-r18", 3, backbone=Halving(), channels=[4], strides=[2], in_channels=5,
                     mean=(0.5,) * 5, std=(0.5,) * 5)  # fmt: skip
    with pytest.raises(ConfigError, match="module as backbone with channels"):
        create_model("refinenet-r18", 3, channels=[4])


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module on the path, registered as an installed distribution would."""
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    entries = "pyramid = pyramid_of_others:Pyramid\nbroken = pyramid_of_others:Nothing"
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}\n")
    (tmp_path / "pyramid_of_others.py").write_text(PYRAMID)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyramid_of_others", raising=False)


def test_a_registered_name_is_built_saved_and_loaded(registered: None, tmp_path: Path) -> None:
    model = create_model("refinenet-r18", 3, backbone="pyramid", **SMALL).eval()
    image = torch.rand(1, 3, 30, 50)
    logits = model(image, upsample=False)
    assert logits.shape == (1, 3, 8, 13)
    save_model_folder(tmp_path / "model", model, ModelCard("x", LabelMap.from_names(["a", "b", "c"])))
    loaded, _ = load_model_folder(tmp_path / "model")
    assert torch.equal(loaded(image, upsample=False), logits)
    with pytest.raises(InputError, match="cannot load 'broken'"):
        create_model("refinenet-r18", 3, backbone="broken")
