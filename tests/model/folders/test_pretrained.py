"""Weights of backbones: packaged, from the Hub, of models, from files; and the normalisation that comes along."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from refineseg.errors import WeightsError
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.backbones.backbone import create_backbone
from refineseg.model.backbones.weights import load_backbone_weights
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.find_model import bundled_models
from refineseg.model.folders.model_folder import save_model_folder
from refineseg.model.folders.pretrained import PACKAGED, find_backbone_weights
from tests.hub import FakeHub, reached_hub
from tests.model.filled import picture
from tests.shared import shared


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with reached_hub(tmp_path / "cache", monkeypatch) as running:
        yield running


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights_are_what_their_record_says(name: str) -> None:
    record = PACKAGED[name]
    assert record.licence == "Apache-2.0"
    assert hashlib.sha256(record.file.read_bytes()).hexdigest() == record.sha256
    assert record.file.stat().st_size < 10_000_000
    backbone = create_backbone(name)
    before = [value.clone() for value in backbone.parameters()]
    load_backbone_weights(backbone, record.file)
    assert all(value.dtype == torch.float32 for value in backbone.parameters())
    assert not any(torch.equal(*pair) for pair in zip(before, backbone.parameters(), strict=True))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_weights_give_the_maps_of_the_originals(name: str) -> None:
    original, packaged = create_backbone(name).eval(), create_backbone(name).eval()
    load_backbone_weights(original, shared("weights", f"{name}_imagenet.safetensors"))
    load_backbone_weights(packaged, PACKAGED[name].file)
    with torch.no_grad():
        for one, other in zip(original.maps(picture(96, 64)), packaged.maps(picture(96, 64)), strict=True):
            assert float((one - other).norm() / one.norm()) < 0.02  # rounding of the convolutions to float16


def test_packaged_weights_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    for choice in ("auto", "imagenet"):
        model = create_model("refinenet-lw-mbv2", 5, choice)
        stem = load_file(PACKAGED["mobilenetv2_100"].file)["conv_stem.weight"].float()
        torch.testing.assert_close(model.state_dict()["backbones.0.conv_stem.weight"], stem, rtol=0, atol=0)
    create_model("refinenet-lw-mbv2-released", 5, "imagenet")


def test_random_weights_have_to_be_said_and_python_keeps_none() -> None:
    torch.manual_seed(0)
    one = create_model("refinenet-lw-mbv2", 5)
    torch.manual_seed(0)
    other = create_model("refinenet-lw-mbv2", 5, "none")
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), other.parameters(), strict=True))
    assert find_backbone_weights(None, "resnet18") is None


def test_normalisation_follows_the_weights_unless_it_is_given() -> None:
    half = (0.5, 0.5, 0.5)
    fields = {"backbone": "tf_efficientnet_lite0"}
    assert create_model("refinenet-lw-mbv2", 5, **fields).config.mean != half
    assert create_model("refinenet-lw-mbv2", 5, "imagenet", **fields).config.mean == half
    model = create_model("refinenet-lw-lite0", 5, "imagenet")
    assert (model.config.mean, model.config.std) == (half, half)
    given = create_model("refinenet-lw-lite0", 5, "imagenet", mean=(0.1, 0.2, 0.3))
    assert given.config.mean == (0.1, 0.2, 0.3)
    channels = create_model("refinenet-lw-mbv2", 5, "imagenet", in_channels=1, mean=(0.3,), std=(0.2,))
    assert channels.config.mean == (0.3,)


def test_the_packaged_file_by_its_path_is_the_same_record(tmp_path: Path) -> None:
    record = PACKAGED["tf_efficientnet_lite0"]
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(record.file.read_bytes())
    found = find_backbone_weights(copy, "tf_efficientnet_lite0")
    assert found is not None
    assert (found.licence, found.mean) == ("Apache-2.0", record.mean)
    save_file({"x": torch.zeros(1)}, copy)
    found = find_backbone_weights(str(copy), "tf_efficientnet_lite0")
    assert found is not None
    assert (found.licence, found.mean) == ("not stated", None)
    with pytest.raises(
        WeightsError, match=r"auto, imagenet, none, a model or a safetensors file; not found: .*nosuch"
    ):
        find_backbone_weights(tmp_path / "nosuch", "resnet18")


def test_a_models_backbone_with_its_normalisation(tmp_path: Path) -> None:
    everyday = load_file(bundled_models()["everyday"] / "model.safetensors")
    model = create_model("refinenet-lw-mbv2", 5, "everyday", width=8, coarse_width=8)
    assert model.config.mean == (0.5, 0.5, 0.5)
    for key in ("backbones.0.conv_stem.weight", "backbones.0.blocks.6.0.bn3.running_var"):
        assert torch.equal(model.state_dict()[key], everyday[key].float())
    trained = create_model("refinenet-lw-r18", 3, width=8, coarse_width=8)
    save_model_folder(tmp_path / "mine", trained, ModelCard("mine", LabelMap.from_names(["a", "b", "c"])))
    other = create_model("refinenet-lw-r18", 2, tmp_path / "mine", width=16, coarse_width=16)
    assert all(map(torch.equal, other.backbones.parameters(), trained.backbones.parameters()))
    with pytest.raises(WeightsError, match="model with the backbone resnet18, got mobilenetv2_100"):
        find_backbone_weights("everyday", "resnet18")


def resnet18(folder: Path) -> None:
    """What timm's repository holds: backbone and classifier."""
    state = {key: value.contiguous() for key, value in create_backbone("resnet18").net.state_dict().items()}  # type: ignore[union-attr]
    folder.mkdir()
    save_file(state | {"fc.weight": torch.zeros(10, 512)}, folder / "model.safetensors")


def test_other_backbones_take_timms_weights_once(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resnet18(tmp_path / "r18")
    commit = hub.add("timm/resnet18.a1_in1k", tmp_path / "r18")
    found = find_backbone_weights("auto", "resnet18")
    assert found is not None
    assert found.source == f"ImageNet, hf:timm/resnet18.a1_in1k@{commit}"
    assert (found.licence, found.mean) == ("apache-2.0", (0.485, 0.456, 0.406))
    assert found.sha256 == hashlib.sha256((tmp_path / "r18" / "model.safetensors").read_bytes()).hexdigest()
    model = create_model("refinenet-lw-r18", 4, "imagenet")
    stem = load_file(tmp_path / "r18" / "model.safetensors")["conv1.weight"]
    torch.testing.assert_close(model.state_dict()["backbones.0.net.conv1.weight"], stem)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert find_backbone_weights("imagenet", "resnet18") == found
    assert len(hub.asked) == asked, "offline means offline"


def test_offline_and_not_cached_names_the_two_ways_out(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        find_backbone_weights("auto", "resnet50")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "resnet50.a1_in1k",
        "HF_HUB_OFFLINE is set",
        "--backbone-weights FILE",
        "--backbone-weights none",
    ):
        assert part in message
    assert not hub.asked


def test_a_network_without_published_weights() -> None:
    assert find_backbone_weights("auto", "resnet26d_nosuch") is None
    with pytest.raises(WeightsError, match="publishes no pretrained weights"):
        find_backbone_weights("imagenet", "resnet26d_nosuch")


@pytest.mark.parametrize("settings", ["authors", "ports"])
def test_weights_of_a_resnet_with_its_stride_elsewhere_are_refused(settings: str, tmp_path: Path) -> None:
    """Their shapes are the same, so that they would load and be another function."""
    model = create_model("refinenet-r50", 2, settings=settings, width=8, coarse_width=8)
    save_model_folder(tmp_path / "a", model, ModelCard("a", LabelMap.from_names(["x", "y"])))
    for other in ("authors", "ports"):
        if other == settings:
            create_model("refinenet-r50", 2, tmp_path / "a", settings=other, width=8, coarse_width=8)
            continue
        with pytest.raises(
            WeightsError, match=r"trained with stride_in_1x1 (true|false), got the model a, trained with"
        ):
            create_model("refinenet-r50", 2, tmp_path / "a", settings=other, width=8, coarse_width=8)
