"""Published checkpoints become our networks: the same numbers, or a refusal that says what differs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.conversion.convert import convert_checkpoint, convert_state
from refineseg.model.conversion.recognise import Architecture, find_checkpoints, recognise
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.refinenet import RefineNet
from refineseg.model.tensors.mismatch import MismatchError
from tests.model import port_reference as port

torch.set_num_threads(1)

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
BOUND = 5e-6  # asked for: 1e-4 of the norm; float32 noise is far below


@pytest.fixture(scope="module")
def mobile() -> port.Tensors:
    return port.random_tensors(port.mobilenet_port_shapes(21))


def picture(height: int, width: int) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Of their norm."""
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


@torch.inference_mode()
def logits(model: RefineNet, image: Tensor) -> Tensor:
    result: Tensor = model(image, upsample=False)
    return result


@torch.inference_mode()
def check_resnet(depth: int, full: bool, sizes: tuple[tuple[int, int], ...]) -> None:
    tensors = port.random_tensors(port.resnet_port_shapes(depth, full, 21))
    model, conversion = convert_state(tensors)
    assert isinstance(model, RefineNet)
    assert conversion.architecture.preset == f"refinenet-{'' if full else 'lw-'}r{depth}"
    assert conversion.num_classes == 21
    for size in sizes:
        image = picture(*size)
        normalised, ours = (image - MEAN) / STD, logits(model, image)
        assert distance(ours, port.resnet_port(tensors, normalised, depth, full)) < BOUND
        # The comparison would notice what is easily wrong.
        flipped = port.resnet_port(tensors, normalised, depth, full, align_corners=False)
        assert distance(ours, flipped) > 1e-3
        assert distance(ours, port.resnet_port(tensors, normalised, depth, full, original=False)) > 1e-2


def test_full_resnet_50_gives_the_logits_of_the_port() -> None:
    check_resnet(50, True, ((97, 75),))


def test_light_weight_resnet_50_gives_the_logits_of_the_port() -> None:
    check_resnet(50, False, ((97, 131),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("depth", "full"), [(18, True), (34, False), (101, True), (152, True), (101, False), (152, False)]
)
def test_other_resnets_give_the_logits_of_the_port(depth: int, full: bool) -> None:
    check_resnet(depth, full, ((97, 131), (161, 127)))


@torch.inference_mode()
def test_mobilenet_gives_the_logits_of_the_port_after_a_round_by_disk(
    mobile: port.Tensors, tmp_path: Path
) -> None:
    torch.save({"segmenter": {f"module.{key}": value for key, value in mobile.items()}}, tmp_path / "mb.pth.tar")
    conversion = convert_checkpoint(tmp_path / "mb.pth.tar", tmp_path / "model")
    assert (conversion.num_classes, conversion.reset, conversion.left_out) == (21, (), ())
    model, info = load_model_folder(tmp_path / "model")
    assert model.config.preset == "refinenet-lw-mbv2-released"
    assert info.labels.names[:2] == ["class 0", "class 1"]  # never guessed from the count of 21
    assert info.provenance["converted from"] == "mb.pth.tar"
    for size in ((97, 131), (33, 64)):
        image = picture(*size)
        normalised, ours = (image - MEAN) / STD, logits(model, image)
        assert distance(ours, port.mobilenet_port(mobile, normalised)) < BOUND
        assert distance(ours, port.mobilenet_port(mobile, normalised, align_corners=False)) > 1e-3
        assert distance(ours, port.mobilenet_port(mobile, normalised, original=False)) > 1e-2


def test_every_tensor_of_the_port_matters(mobile: port.Tensors) -> None:
    # So that a comparison of logits cannot pass with a tensor in the wrong place.
    image = (picture(65, 65) - MEAN) / STD
    fixed = {k: v for k, v in mobile.items() if "running_" in k}
    leaves = {k: v.clone().requires_grad_() for k, v in mobile.items() if k not in fixed and v.is_floating_point()}
    port.mobilenet_port(fixed | leaves, image).square().mean().backward()  # type: ignore[no-untyped-call]
    silent = [key for key, value in leaves.items() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("wrapper", [None, "state_dict", "segmenter", "both"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module."])
def test_wrappers_and_prefixes(mobile: port.Tensors, tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    from refineseg.model.tensors.checkpoints import read_checkpoint

    state = {prefix + key: value for key, value in mobile.items()}
    content = {
        None: state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "segmenter": {"segmenter": state, "best_val": 0.5},
        "both": {"state_dict": {"segmenter": state}, "optimiser": {"lr": [1.0]}},
    }[wrapper]
    torch.save(content, tmp_path / "file.pth")
    assert read_checkpoint(tmp_path / "file.pth").keys() == mobile.keys()


@pytest.mark.parametrize("victim", ["layer4.1.output.1.0.weight", "crp3.0.2_outvar_dimred.weight", "segm.bias"])
def test_one_missing_renamed_or_misfitting_tensor_is_refused(
    mobile: port.Tensors, tmp_path: Path, victim: str
) -> None:
    shape = "x".join(str(size) for size in mobile[victim].shape)
    missing = {key: value for key, value in mobile.items() if key != victim}
    with pytest.raises(MismatchError, match=f"1 tensor missing, 0 left over, 0 .*{victim}") as caught:
        convert_state(missing)
    assert [line.split() for line in caught.value.table.splitlines()[1:]] == [["missing", victim, "-", shape]]

    renamed = missing | {victim + "s": mobile[victim]}
    with pytest.raises(MismatchError, match="1 tensor missing, 1 left over, 0 of another") as caught:
        convert_state(renamed)
    assert [" ".join(line.split()[:3]) for line in caught.value.table.splitlines()[2:]] == [f"left over {victim}s"]

    with pytest.raises(MismatchError, match="0 tensors missing, 0 left over, 1 of another shape"):
        convert_state(mobile | {victim: torch.zeros(3, *mobile[victim].shape)[:, :2]})

    torch.save(missing, tmp_path / "file.pth")
    with pytest.raises(MismatchError):
        convert_checkpoint(tmp_path / "file.pth", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_light_weight_file_is_not_taken_for_a_full_one() -> None:
    light = {name: torch.zeros(shape) for name, shape in port.resnet_port_shapes(18, False, 3)}
    assert recognise(light).preset == "refinenet-lw-r18"
    full = {name: torch.zeros(()) for name, _ in port.resnet_port_shapes(18, True, 3)}
    assert recognise(full).preset == "refinenet-r18"
    with pytest.raises(MismatchError):
        convert_state(light | {"mflow_conv_g1_b.0.1_conv.weight": torch.zeros(512, 512, 3, 3)})


def test_values_that_are_no_numbers_are_refused(mobile: port.Tensors) -> None:
    with pytest.raises(WeightsError, match="not finite"):
        convert_state(mobile | {"segm.bias": torch.full((21,), torch.nan)})


def test_labels_must_have_the_classifiers_count(mobile: port.Tensors, tmp_path: Path) -> None:
    torch.save(mobile, tmp_path / "file.pth")
    with pytest.raises(WeightsError, match=r"expected labels of 21 classes.*got 40.*--reset-head 40"):
        convert_checkpoint(
            tmp_path / "file.pth", tmp_path / "model", LabelMap.from_names([f"n{i}" for i in range(40)])
        )
    assert not (tmp_path / "model").exists()
    names = [f"name {index}" for index in range(21)]
    convert_checkpoint(tmp_path / "file.pth", tmp_path / "model", LabelMap.from_names(names))
    assert load_model_folder(tmp_path / "model")[1].labels.names == names


def test_reset_head_is_the_only_way_to_another_class_count(mobile: port.Tensors, tmp_path: Path) -> None:
    torch.save(mobile, tmp_path / "file.pth")
    labels = LabelMap.from_names([f"n{index}" for index in range(5)])
    conversion = convert_checkpoint(tmp_path / "file.pth", tmp_path / "model", labels, reset_head=5)
    assert conversion.reset == ("classifier.weight", "classifier.bias")
    model, info = load_model_folder(tmp_path / "model")
    assert model.num_classes == 5
    assert "classifier.weight" in info.provenance["initialised at random"]
    kept = model.state_dict()["decoder.blocks.3.adapt.0.0.weight"]
    assert torch.equal(kept, mobile["conv3.weight"])
    again, _ = convert_state(mobile, reset_head=5)
    assert torch.equal(again.state_dict()["classifier.weight"], model.state_dict()["classifier.weight"])
    headless = {key: value for key, value in mobile.items() if not key.startswith("segm")}
    convert_state(headless, reset_head=5)
    with pytest.raises(MismatchError):  # nothing but the head may be missing
        convert_state({k: v for k, v in mobile.items() if k != "conv3.weight"}, reset_head=5)
    with pytest.raises(InputError, match="1 or more"):
        convert_state(mobile, reset_head=0)


def test_unknown_networks_and_other_folders_are_left_alone(mobile: port.Tensors, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="something else"):
        convert_state({"fc.weight": torch.zeros(1000, 512)})
    torch.save(mobile, tmp_path / "file.pth")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not lose")
    with pytest.raises(InputError, match="other content"):
        convert_checkpoint(tmp_path / "file.pth", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "do not lose"


def test_find_lists_what_lies_in_the_torch_caches(
    mobile: port.Tensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "chosen"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    folders = [
        tmp_path / ".torch/models",
        tmp_path / "chosen/hub/checkpoints",
        tmp_path / ".cache/torch/hub/checkpoints",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
    torch.save(mobile, folders[0] / "mb.pth.tar")
    torch.save({"fc.weight": torch.zeros(2, 2)}, folders[1] / "resnet.pth")
    (folders[2] / "broken.pth").write_bytes(b"no checkpoint")
    (folders[2] / "notes.txt").write_text("no checkpoint either")
    found = find_checkpoints()
    assert [path.name for path in found] == ["mb.pth.tar", "resnet.pth", "broken.pth"]
    known, other, broken = found.values()
    assert isinstance(known, Architecture)
    assert (known.preset, known.num_classes) == ("refinenet-lw-mbv2-released", 21)
    assert "something else" in str(other)
    assert "damaged" in str(broken)
