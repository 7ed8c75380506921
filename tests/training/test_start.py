"""What a run starts from: ImageNet weights, a model with other classes, or nothing; and that it is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from refineseg.cli.train_settings import build_config
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.errors import ConfigError, InputError
from refineseg.labels import LabelMap
from refineseg.model.classifier import change_classes, same_classes
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import load_model_folder, save_model_folder
from refineseg.model.folders.pretrained import PACKAGED
from refineseg.model.presets import create_model
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from refineseg.training.preparation.initial_network import model_to_start_from, starting_network
from tests.data.made import make_folder

SMALL: dict[str, Any] = {"width": 16, "coarse_width": 16}
CONFIG = TrainConfig(fields=SMALL, augment=AugmentConfig(crop=(32, 32)), steps=1, batch_size=2, workers=0)


@pytest.fixture
def data(tmp_path: Path) -> SegmentationData:
    """Classes background, box, other."""
    return open_data(f"folder:{make_folder(tmp_path, pictures=8)}")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A model of four other classes, two of which the data has too, under other spellings."""
    model = create_model("refinenet-lw-mbv2", 4, **SMALL)
    card = ModelCard("trained", LabelMap.from_names(["sky", "Back ground", "crate", "BOX"]))
    save_model_folder(tmp_path / "trained", model, card)
    return tmp_path / "trained"


def test_classes_are_the_same_by_name() -> None:
    new, old = ["road", "traffic_light", "vehicle", "dog"], ["Car", "Traffic Light", "ROAD"]
    assert same_classes(new, old, {}) == {0: 2, 1: 1}
    assert same_classes(new, old, {"car": "Vehicle"}) == {0: 2, 1: 1, 2: 0}
    with pytest.raises(ConfigError, match=r"--map MODEL_CLASS=DATA_CLASS, the model has no class 'lorry': Car, "):
        same_classes(new, old, {"lorry": "vehicle"})
    with pytest.raises(ConfigError, match="the data has no class 'cat'"):
        same_classes(new, old, {"car": "cat"})


def test_a_run_takes_a_published_form(data: SegmentationData, trained: Path) -> None:
    """``--set model.settings=authors``, which the recipe's page names, and fields set on top of it."""
    words = ["model.settings=authors", "model.width=16", "model.coarse_width=16", "model.pooling=improved"]
    config, explicit = build_config(None, "paper", {"model": "refinenet-r50"}, None, words)
    assert "fields.settings" in explicit
    network = starting_network(dataclasses.replace(config, backbone_weights="none"), data).model.config
    assert (network.upsampling, network.stride_in_1x1, network.mean[0]) == ("bicubic", True, 128 / 255)
    assert (network.input_scales, network.pooling, network.width) == ((1.2,), "improved", 16)
    again = TrainConfig.from_dict(config.to_dict())  # from config.yaml, when the run is resumed
    assert again == config

    for model, line in (
        ("refinenet-lw-mbv2", "full network with settings 'authors'"),
        (str(trained), "expected a preset with model.settings"),
    ):
        with pytest.raises(ConfigError, match=line):
            starting_network(dataclasses.replace(config, model=model), data)


@pytest.mark.parametrize("init", ["paper", "default", "identity"])
def test_a_new_classifier_keeps_the_named_rows_and_draws_the_others(init: str) -> None:
    model = create_model("refinenet-lw-mbv2", 4, init=init, **SMALL)
    old = {key: value.clone() for key, value in model.state_dict().items()}
    change_classes(model, 3, {0: 2, 2: 1}, seed=5)
    new = model.state_dict()
    assert model.config.num_classes == model.eval()(torch.zeros(1, 3, 32, 32)).shape[1] == 3
    for name in ("classifier.weight", "classifier.bias"):
        assert torch.equal(new[name][0], old[name][2])
        assert torch.equal(new[name][2], old[name][1])
    assert not any(torch.equal(new["classifier.weight"][1], row) for row in old["classifier.weight"])
    assert all(torch.equal(new[key], value) for key, value in old.items() if not key.startswith("classifier"))
    drawn = new["classifier.weight"][1].clone()
    change_classes(model, 3, {}, seed=5)
    assert torch.equal(model.classifier.weight[1], drawn), "the same seed draws the same rows"
    assert float(drawn.std()) == pytest.approx(0.01 if init == "paper" else 1 / (9 * 16) ** 0.5 / 3**0.5, rel=0.15)


def test_a_preset_starts_from_imagenet_and_says_so(data: SegmentationData) -> None:
    start = starting_network(CONFIG, data)
    stem = load_file(PACKAGED["mobilenetv2_100"].file)["conv_stem.weight"].float()
    assert torch.equal(start.model.state_dict()["backbones.0.conv_stem.weight"], stem)
    assert start.line.startswith("refinenet-lw-mbv2, backbone from ImageNet, MobileNet-v2")
    assert "Apache-2.0" in start.line
    assert start.provenance["backbone weights' SHA-256"] == PACKAGED["mobilenetv2_100"].sha256
    assert not start.warning


def test_a_start_from_nothing_is_warned_of(data: SegmentationData, tmp_path: Path) -> None:
    reports: list[TrainingEvent] = []
    config = dataclasses.replace(CONFIG, backbone_weights="none")
    train(config, data, tmp_path / "run", callbacks=[reports.append], device="cpu")
    told = [(report.phase, report.note) for report in reports if report.note]
    assert told[0] == ("start", "refinenet-lw-mbv2, random weights")
    assert told[1][0] == "warning"
    assert "--backbone-weights imagenet" in told[1][1]
    assert load_model_folder(tmp_path / "run" / "last")[1].provenance["backbone weights"] == "random"


def test_a_model_with_other_classes(data: SegmentationData, trained: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, model=str(trained), class_map={"crate": "other"})
    start = starting_network(config, data)
    before, after = load_model_folder(trained)[0].state_dict(), start.model.state_dict()
    assert torch.equal(after["classifier.bias"], before["classifier.bias"][[1, 3, 2]])
    pooling = "decoder.blocks.0.pooling.convs.0.weight"
    assert torch.equal(after[pooling], before[pooling])
    carried = "background (from Back ground), box (from BOX), other (from crate)"
    assert start.line == f"{trained}, backbone and decoder; 3 of 3 classes carried over: {carried}"
    two = starting_network(dataclasses.replace(config, class_map={}), data)
    told = "2 of 3 classes carried over: background (from Back ground), box (from BOX)"
    assert two.line.endswith(f"{told}; initialised at random: other")
    reports: list[TrainingEvent] = []
    train(config, data, tmp_path / "run", callbacks=[reports.append], device="cpu")
    assert [report.note for report in reports if report.phase == "start"] == [start.line]
    model, card = load_model_folder(model_to_start_from(str(tmp_path / "run")))
    assert card.provenance["started from"] == str(trained)
    assert card.provenance["classes carried over"] == carried
    assert card.labels.names == data.label_map.names
    assert model.config.num_classes == 3


def test_a_class_map_needs_a_model(data: SegmentationData) -> None:
    config = dataclasses.replace(CONFIG, class_map={"crate": "other"})
    with pytest.raises(ConfigError, match=r"--map .* but refinenet-lw-mbv2 is a preset"):
        starting_network(config, data)


def test_the_folder_of_a_run_means_its_best_model(data: SegmentationData, tmp_path: Path) -> None:
    train(CONFIG, data, tmp_path / "run", device="cpu")
    assert model_to_start_from(str(tmp_path / "run")) == tmp_path / "run" / "best"
    start = starting_network(dataclasses.replace(CONFIG, model=str(tmp_path / "run"), fields={}), data)
    assert start.line == f"{tmp_path / 'run'}, all of it"


def test_normalisation_of_the_weights_reaches_the_run(data: SegmentationData) -> None:
    fields = {**SMALL, "backbone": "tf_efficientnet_lite0"}
    start = starting_network(dataclasses.replace(CONFIG, fields=fields), data)
    assert start.model.config.mean == (0.5, 0.5, 0.5)
    assert torch.equal(start.model.std.flatten(), torch.full((3,), 0.5))
    kept = starting_network(dataclasses.replace(CONFIG, fields={**fields, "mean": [0.1, 0.2, 0.3]}), data)
    assert kept.model.config.mean == (0.1, 0.2, 0.3)


def test_data_may_be_named_as_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Folder not found"):
        train(TrainConfig(), f"folder:{tmp_path / 'none'}", tmp_path / "run")
    assert not (tmp_path / "run").exists()
