"""Blocks that no longer pass anything on are named, and sound ones are not."""

from __future__ import annotations

from pathlib import Path

import torch

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.model.blocks import RefineNetBlock
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.model.presets import create_model
from refineseg.model.refinenet import RefineNet
from refineseg.training.custom import TrainingEvent
from refineseg.training.dead_blocks import dead_blocks
from refineseg.training.loop import train
from tests.data.made import make_folder

IMAGES = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def network(classes: int = 3) -> RefineNet:
    torch.manual_seed(0)
    return create_model("refinenet-r18", classes, width=8, coarse_width=8, init="default")


def kill(model: RefineNet, block: int) -> None:
    """The block's fused map is nowhere above zero."""
    part = model.decoder.blocks[block]
    assert isinstance(part, RefineNetBlock)
    for weight in part.fusion.parameters():
        weight.data.zero_()


def test_only_the_dead_block_is_named() -> None:
    model = network()
    assert dead_blocks(model, IMAGES) == []
    kill(model, 2)
    assert dead_blocks(model, IMAGES) == ["decoder.blocks.2"]
    assert not any(part._forward_hooks for part in model.modules())


def test_coarser_maps_have_no_effect_behind_a_dead_block() -> None:
    """What the warning says, by gradients."""
    model = network()
    kill(model, 2)
    model.eval()(IMAGES).sum().backward()
    for block, trained in enumerate((False, False, False, True)):
        names = [name for name, _ in model.named_parameters() if name.startswith(f"decoder.blocks.{block}.adapt")]
        gradients = [model.get_parameter(name).grad for name in names]
        assert any(gradient is not None and gradient.any() for gradient in gradients) is trained, block


def test_a_training_warns_once(tmp_path: Path) -> None:
    data = open_data(f"folder:{make_folder(tmp_path / 'data', pictures=8)}")
    model = network(data.label_map.num_classes)
    kill(model, 2)
    save_model_folder(tmp_path / "start", model, ModelCard("start", data.label_map))
    config = TrainConfig(
        model=str(tmp_path / "start"), augment=AugmentConfig(crop=(64, 64)), steps=6, batch_size=2, workers=0
    )
    events: list[TrainingEvent] = []
    train(config, data, tmp_path / "run", callbacks=[events.append], device="cpu")
    (warning,) = [event.note for event in events if event.phase == "warning" and "decoder" in event.note]
    assert warning.startswith("decoder.blocks.2 passes on nothing but zeros")
    assert "--lr than 0.001" in warning
    assert "decoder.blocks.2 passes on" in (tmp_path / "run/index.html").read_text(encoding="utf-8")
