"""Networks of transformers by their names on the Hub, against one on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import refineseg
from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.conversion.convert import convert_checkpoint
from refineseg.model.dpt.huggingface import recognise_repository
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.tensors.mismatch import MismatchError
from tests.hub import FakeHub, reached_hub
from tests.model.dpt.originals import (
    PREPROCESSOR,
    depth,
    depth_anything,
    dpt_config,
    output,
    segmentation,
    swin,
    write_repository,
)

NAMES = [f"kind {index}" for index in range(5)]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dpt-tiny-ade")
    write_repository(segmentation(), folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("REFINESEG_CACHE", str(tmp_path / "ours"))
    with reached_hub(tmp_path / "theirs", monkeypatch) as running:
        yield running


def test_a_network_of_transformers_by_its_name(
    hub: FakeHub, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add("Intel/dpt-tiny-ade", repository)
    segmenter = refineseg.load("hf:Intel/dpt-tiny-ade", device="cpu")
    card = segmenter.card
    assert segmenter.class_names == NAMES
    assert card.name == "dpt-tiny-ade"
    assert card.licence == "apache-2.0"
    assert card.provenance["converted from"] == f"hf:Intel/dpt-tiny-ade@{commit}"
    assert card.provenance["hub"] == f"hf:Intel/dpt-tiny-ade@{commit}"
    assert card.resize is not None
    assert card.resize.to_dict() == {
        "height": 96,
        "width": 96,
        "fit": "least",
        "multiple": 32,
        "filter": "bilinear",
    }
    model = segmenter.model
    assert model.config.mean == (0.5, 0.4, 0.6)
    assert model.config.std == (0.5, 0.25, 0.3)
    assert not any(".bin" in line or ".py" in line for line in hub.asked), "no pickle and no code is fetched"

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert refineseg.load("hf:Intel/dpt-tiny-ade", device="cpu").card == card
    assert len(hub.asked) == asked


def test_the_folder_gives_what_the_original_gives(repository: Path, tmp_path: Path) -> None:
    done = convert_checkpoint(repository, tmp_path / "model")
    assert done.num_classes == 5
    assert done.named
    left = set(done.left_out)
    assert {"dpt.layernorm.weight", "auxiliary_head.head.4.bias"} <= left
    assert done.tensors + len(left) == sum(
        not name.endswith("num_batches_tracked") for name in load_file(repository / "model.safetensors")
    )
    network, _ = load_model_folder(tmp_path / "model")
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        theirs = output(segmentation(), (images - network.mean) / network.std)
        assert float((network(images) - theirs).norm() / theirs.norm()) < 1e-4


def test_names_and_heads_of_ones_own(repository: Path, tmp_path: Path) -> None:
    own = LabelMap.from_names(["a", "b", "c", "d", "e"])
    convert_checkpoint(repository, tmp_path / "named", own)
    assert load_model_folder(tmp_path / "named")[1].labels.names == own.names
    with pytest.raises(WeightsError, match="expected labels of 5 classes"):
        convert_checkpoint(repository, tmp_path / "wrong", LabelMap.from_names(["a", "b"]))
    done = convert_checkpoint(repository, tmp_path / "new", LabelMap.from_names(["a", "b"]), reset_head=2)
    assert done.reset == ("classifier.classes.weight", "classifier.classes.bias")
    network, card = load_model_folder(tmp_path / "new")
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)
    assert "initialised at random" in str(card.provenance)


def test_depth_has_no_classes(tmp_path: Path) -> None:
    write_repository(depth_anything(), tmp_path / "repository")
    done = convert_checkpoint(tmp_path / "repository", tmp_path / "model")
    assert (done.outputs, done.num_classes) == ("depth", None)
    network, card = load_model_folder(tmp_path / "model")
    assert network.config.outputs == "depth"
    assert card.labels.names == ["depth"]
    with pytest.raises(InputError, match="it gives depth, not classes"):
        convert_checkpoint(tmp_path / "repository", tmp_path / "other", reset_head=3)


def test_a_pickle_is_read_by_convert_alone(hub: FakeHub, repository: Path, tmp_path: Path) -> None:
    state = load_file(repository / "model.safetensors")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (copy / name).write_bytes((repository / name).read_bytes())
    torch.save(state, copy / "pytorch_model.bin")
    hub.add("Intel/pickled", copy)
    with pytest.raises(WeightsError, match=r"refineseg convert FOLDER OUT"):
        refineseg.load("hf:Intel/pickled")
    assert not any("GET" in line and ".bin" in line for line in hub.asked)
    assert convert_checkpoint(copy, tmp_path / "model").num_classes == 5
    assert load_model_folder(tmp_path / "model")[1].licence == "not stated by the repository"


def spoiled(repository: Path, folder: Path, file: str, **changes: object) -> Path:
    folder.mkdir()
    for path in repository.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(values | changes))
    return folder


def test_a_swin_takes_pictures_of_its_size_alone(tmp_path: Path) -> None:
    original = depth(swin(), neck_hidden_sizes=[16, 32, 64, 128])
    write_repository(original, tmp_path / "free")
    with pytest.raises(WeightsError, match="expected pictures of 64x64 for a Swin"):
        convert_checkpoint(tmp_path / "free", tmp_path / "model")
    square = {"size": {"height": 64, "width": 64}, "keep_aspect_ratio": False}
    write_repository(original, tmp_path / "fixed", PREPROCESSOR | square)
    convert_checkpoint(tmp_path / "fixed", tmp_path / "model")
    network, card = load_model_folder(tmp_path / "model")
    assert card.resize is not None
    assert card.resize.size(300, 200) == (64, 64)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        theirs = output(original, (images - network.mean) / network.std)
        assert float((network(images) - theirs).norm() / theirs.norm()) < 1e-4
    with pytest.raises(InputError, match="over Swin takes only 64x64"):
        refineseg.export(tmp_path / "model", tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        (
            "config.json",
            {"is_hybrid": True, "neck_ignore_stages": [0, 1], "backbone_config": {"depths": [3, 4, 6]}},
            "expected depths",
        ),
        ("config.json", {"backbone_config": {"model_type": "swin"}}, "expected backbone_config None"),
        ("config.json", {"hidden_act": "relu"}, "expected hidden_act gelu"),
        ("config.json", {"is_hybrid": True}, "expected neck_ignore_stages"),
        ("config.json", {"reassemble_factors": [4, 2, 1, 1]}, "expected reassemble_factors"),
        ("config.json", {"backbone_out_indices": [0, 1]}, "expected 4 layers"),
        ("config.json", {"patch_size": 8}, "expected patch_size 16"),
        ("config.json", {"id2label": {"0": "a", "2": "b"}}, "id2label does not count from 0"),
        ("config.json", {"hidden_size": None}, "cannot read the settings"),
        ("preprocessor_config.json", {"rescale_factor": 1}, "expected rescale_factor 1/255"),
        ("preprocessor_config.json", {"resample": 1}, "expected resample 2"),
        ("preprocessor_config.json", {"size": {"shortest_edge": 480}}, "expected a size with height and width"),
        ("preprocessor_config.json", {"image_mean": [0.5]}, "cannot read the settings"),
    ],
)
def test_settings_that_the_network_does_not_have(
    repository: Path, tmp_path: Path, file: str, changes: dict[str, object], said: str
) -> None:
    folder = spoiled(repository, tmp_path / "spoiled", file, **changes)
    with pytest.raises(WeightsError, match=said):
        convert_checkpoint(folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Dinov2Config", {"image_size": 518, "out_indices": [3, 6, 9, 12], "reshape_hidden_states": False}),
        ("BeitConfig", {"use_relative_position_bias": True, "out_indices": [3, 6, 9, 12]}),
        ("Swinv2Config", {"image_size": 96, "out_indices": [1, 2, 3, 4]}),
    ],
)
def test_default_values_of_a_backbone_may_be_left_out(kind: str, changes: dict[str, object]) -> None:
    """As transformers 4 writes a config.json: of a nested backbone only what differs from its class's defaults."""
    import transformers

    defaults = getattr(transformers, kind)().to_dict()
    inner = getattr(transformers, kind)(**changes).to_dict()
    short = {
        name: value for name, value in inner.items() if name == "model_type" or value != defaults.get(name, ...)
    }
    assert len(short) < 10
    values = dpt_config().to_dict() | {"architectures": ["DPTForDepthEstimation"]}
    picture = PREPROCESSOR | {"keep_aspect_ratio": False}
    whole, part = (
        recognise_repository(values | {"backbone_config": own}, picture, "a repository") for own in (inner, short)
    )
    assert part == whole


def test_another_architecture_is_refused_before_its_weights(
    hub: FakeHub, repository: Path, tmp_path: Path
) -> None:
    folder = spoiled(repository, tmp_path / "other", "config.json", architectures=["ZoeDepthForDepthEstimation"])
    hub.add("Intel/zoe", folder)
    with pytest.raises(WeightsError, match=r"hf:Intel/zoe.* is not a refineseg model.*DPTForSemanticSegmentation"):
        refineseg.load("hf:Intel/zoe")
    assert not any("GET" in line and "safetensors" in line for line in hub.asked)


def test_an_unknown_tensor_is_listed(repository: Path, tmp_path: Path) -> None:
    folder = spoiled(repository, tmp_path / "extra", "config.json")
    state = load_file(repository / "model.safetensors")
    del state["neck.convs.2.weight"]
    save_file(state | {"neck.unheard_of.weight": torch.zeros(3)}, folder / "model.safetensors")
    with pytest.raises(MismatchError, match="1 tensor missing, 1 left over") as caught:
        convert_checkpoint(folder, tmp_path / "model")
    assert "neck.unheard_of.weight" in caught.value.table
    assert "neck.convs.2.weight" in caught.value.table


def test_weights_alone_say_what_is_missing(tmp_path: Path) -> None:
    write_repository(depth_anything(), tmp_path / "repository")
    alone = tmp_path / "depth-anything.safetensors"
    alone.write_bytes((tmp_path / "repository" / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"a network of transformers with its config\.json beside it"):
        convert_checkpoint(alone, tmp_path / "model", version="depth-anything-v2")
    assert not (tmp_path / "model").exists()


def test_no_preprocessor(repository: Path, tmp_path: Path) -> None:
    folder = spoiled(repository, tmp_path / "bare", "config.json")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsError, match=r"expected a network of transformers with preprocessor_config.json"):
        convert_checkpoint(folder, tmp_path / "model")


def test_nothing_here_is_constant() -> None:
    assert np.ptp(PREPROCESSOR["image_mean"]) > 0, "else a swap of channels would not show"
