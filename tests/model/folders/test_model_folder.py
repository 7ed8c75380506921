"""Model folders and backbone weights: strict, and with the reason when they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from refineseg.errors import WeightsError
from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.backbones.backbone import Backbone, MobileNetV2, create_backbone
from refineseg.model.backbones.timm_backbone import TimmBackbone
from refineseg.model.backbones.weights import fit_stem, load_backbone_weights
from refineseg.model.folders.model_folder import ModelCard, load_model_folder, save_model_folder
from tests.model.filled import fill, picture
from tests.shared import shared

LABELS = LabelMap.from_names(["a", "b", "c"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = create_model("refinenet-lw-mbv2", 3)
    fill(model)
    save_model_folder(tmp_path / "m", model, ModelCard("m", LABELS))
    return tmp_path / "m"


def change(folder: Path, **edits: object) -> None:
    state = load_file(folder / "model.safetensors")
    for key, value in edits.items():
        name = key.replace("__", ".")
        if value is None:
            del state[name]
        else:
            assert isinstance(value, torch.Tensor)
            state[name] = value
    save_file(state, folder / "model.safetensors")


def test_folder_is_complete(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "refinenet-lw-mbv2" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"classifier__bias": None}, r"1 tensor missing \['classifier.bias'\]"),
        ({"extra": torch.zeros(1)}, r"1 left over \['extra'\]"),
        ({"classifier__bias": torch.zeros(4)}, r"1 of another shape \['classifier.bias'\]"),
        ({"classifier__bias": torch.full((3,), float("nan"))}, "not finite"),
    ],
)
def test_weights_that_do_not_fit(folder: Path, edits: dict[str, object], message: str) -> None:
    change(folder, **edits)
    with pytest.raises(WeightsError, match=message):
        load_model_folder(folder)


def test_damaged_files(folder: Path) -> None:
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        load_model_folder(folder)
    weights.unlink()
    with pytest.raises(WeightsError, match="File not found"):
        load_model_folder(folder)
    text = config.read_text()
    for broken in ("", "{", "[]", "{}", "null", text.replace('"format": 1', '"format": 9')):
        config.write_text(broken)
        with pytest.raises(WeightsError, match=r"config\.json"):
            load_model_folder(folder)
    values = json.loads(text)
    values["labels"]["classes"].pop()
    config.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="contradictory"):
        load_model_folder(folder)
    config.unlink()
    with pytest.raises(WeightsError, match="expected a model folder"):
        load_model_folder(folder)


@pytest.mark.parametrize("scores", ["x", [[1]], [{}], [{"data": "d", "split": "val", "protocol": "p"}]])
def test_scores_that_no_card_can_show(folder: Path, scores: object) -> None:
    """They would be met much later: when the folder is pushed, or by the server's description."""
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"scores": scores}))
    with pytest.raises(WeightsError, match="damaged: TypeError expected scores with data, split"):
        load_model_folder(folder)


def test_replacing_a_folder_leaves_nothing_behind(folder: Path) -> None:
    model, info = load_model_folder(folder)
    save_model_folder(folder, model, info)
    assert [path.name for path in folder.parent.iterdir()] == ["m"]


@pytest.mark.parametrize("backbone", ["mobilenetv2_100", "resnet18", "convnext_atto"])
def test_a_loaded_network_is_whole(backbone: str, tmp_path: Path) -> None:
    """Made without drawing weights first: every tensor is there, real, of its own memory and trainable."""
    model = create_model("refinenet-lw-r18", 3, backbone=backbone, width=8, coarse_width=8)
    fill(model)
    names = LabelMap.from_names(["a", "b", "c"])
    save_model_folder(tmp_path / "m", model, ModelCard("m", names))
    loaded, _ = load_model_folder(tmp_path / "m")
    (tmp_path / "m/model.safetensors").write_bytes(b"")  # nothing reads it any more
    for (name, one), other in zip(
        [*model.named_parameters(), *model.named_buffers()],
        [*loaded.parameters(), *loaded.buffers()],
        strict=True,
    ):
        assert (one.dtype, one.device, one.requires_grad) == (other.dtype, other.device, other.requires_grad), name
        assert torch.equal(one, other), name
    x = picture(64, 64)
    assert torch.equal(model.eval()(x), loaded(x))
    assert not loaded.training


def classifier_names(backbone: Backbone) -> dict[str, torch.Tensor]:
    net = backbone if isinstance(backbone, MobileNetV2) else backbone.get_submodule("net")
    return net.state_dict()


def test_backbone_weights_of_timm_names(tmp_path: Path) -> None:
    for name in ("resnet18", "convnext_atto", "mobilenetv2_100"):
        source = create_backbone(name)
        fill(source)
        state = classifier_names(source)
        state = {
            key.replace("stages_", "stages.").replace("stem_", "stem."): value for key, value in state.items()
        }
        path = tmp_path / f"{name}.safetensors"
        save_file({**state, "fc.weight": torch.zeros(1), "head.fc.bias": torch.zeros(1)}, path)
        target = create_backbone(name)
        load_backbone_weights(target, path)
        x = picture(64, 64)
        with torch.no_grad():
            for one, other in zip(source.eval().maps(x), target.eval().maps(x), strict=True):
                assert torch.equal(one, other), name


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "convnext_atto"])
def test_backbone_weights_of_rgb_for_other_channels(name: str, tmp_path: Path) -> None:
    """The stem of six channels sees a picture twice, at half weight each: the same maps. One channel: grey."""
    rgb = create_backbone(name)
    fill(rgb)
    path = tmp_path / "rgb.safetensors"
    save_file(classifier_names(rgb), path)
    six, one = create_backbone(name, 6), create_backbone(name, 1)
    for backbone in (six, one):
        load_backbone_weights(backbone, path)
    x = picture(64, 64)
    grey = x[:, :1]
    with torch.no_grad():
        for seen, other in (
            (six.eval().maps(x.repeat(1, 2, 1, 1)), x),
            (one.eval().maps(grey), grey.expand(-1, 3, -1, -1)),
        ):
            for got, expected in zip(seen, rgb.eval().maps(other), strict=True):
                assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_filters_of_five_channels_by_hand() -> None:
    weight = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1)
    assert fit_stem(weight, 5).flatten().tolist() == [6, 12, 18, 6, 12]
    assert fit_stem(weight, 2).flatten().tolist() == [15, 30]
    assert fit_stem(weight, 1).flatten().tolist() == [60]


def test_backbone_weights_are_strict(tmp_path: Path) -> None:
    backbone = create_backbone("resnet18")
    state = TimmBackbone("resnet18").net.state_dict()
    path = tmp_path / "b.safetensors"
    save_file({f"module.{key}": value for key, value in state.items()}, path)
    with pytest.raises(WeightsError, match=r"b.safetensors does not fit the backbone: 1\d\d tensors missing"):
        load_backbone_weights(backbone, path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="expected a safetensors file"):
        load_backbone_weights(backbone, path)
    with pytest.raises(WeightsError, match="File not found"):
        load_backbone_weights(backbone, tmp_path / "none")


def test_expansion_built_as_identity_keeps_the_function() -> None:
    """The same ImageNet weights in both forms of MobileNet-v2 give the same maps."""
    path = shared("weights", "mobilenetv2_100_imagenet.safetensors")
    plain, released = create_backbone("mobilenetv2_100"), create_backbone("mobilenetv2_released")
    for backbone in (plain, released):
        load_backbone_weights(backbone, path)
    x = picture(64, 96)
    with torch.no_grad():
        for one, other in zip(plain.eval().maps(x), released.eval().maps(x), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
