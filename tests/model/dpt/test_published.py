"""Checkpoints of the authors' own code: the names both ways, and the output of transformers' classes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from refineseg.errors import InputError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.conversion.convert import convert_checkpoint
from refineseg.model.conversion.fill import fill
from refineseg.model.conversion.recognise import recognise
from refineseg.model.dpt import keymaps
from refineseg.model.dpt.huggingface import recognise_repository
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.refinenet import RefineNet
from refineseg.model.tensors.keymaps import KeyMap
from refineseg.model.tensors.mismatch import MismatchError
from tests.model import port_reference as port
from tests.model.dpt import originals
from tests.model.dpt.originals import (
    PREPROCESSOR,
    beit,
    depth,
    depth_anything,
    dinov2,
    hybrid,
    output,
    segmentation,
)

DEPTH = keymaps.key_map("MiDaS", keymaps.MIDAS_DEPTH, keymaps.MIDAS)
CLASSES = keymaps.key_map("DPT", keymaps.MIDAS_CLASSES, keymaps.MIDAS)
DEPTH_ANYTHING = keymaps.key_map("Depth Anything", keymaps.DEPTH_ANYTHING)
GIANT = keymaps.key_map("Depth Anything", keymaps.swiglu("pretrained"), keymaps.DEPTH_ANYTHING)
UNIMATCH = keymaps.key_map("UniMatch V2", keymaps.UNIMATCH)


def original(family: str) -> tuple[Any, KeyMap, str | None]:
    """A network of transformers, the names that the authors give its tensors, and what --as must say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(originals.SIZES, "num_attention_heads", 1)  # of 64 channels, as in every published network
        if family == "DPT for classes":
            return segmentation(layer_norm_eps=1e-6), CLASSES, None
        if family == "MiDaS 3":
            return depth(layer_norm_eps=1e-6), DEPTH, None
        if family == "MiDaS 3 hybrid":
            return hybrid(depth, layer_norm_eps=1e-6), DEPTH, None
        if family == "DPT hybrid for classes":
            return hybrid(segmentation, layer_norm_eps=1e-6), CLASSES, None
        if family == "Depth Anything, giant":
            return depth_anything(dinov2(use_swiglu_ffn=True)), GIANT, "depth-anything-v2"
        if family == "MiDaS 3.1 with BEiT":
            config = beit()
            config.layer_norm_eps = 1e-6
            return depth(config), DEPTH, None
        if family == "Depth Anything, metric":
            model = depth_anything(depth_estimation_type="metric", max_depth=20)
            return model, DEPTH_ANYTHING, "depth-anything-v2-metric-indoor"
        return depth_anything(), DEPTH_ANYTHING, "depth-anything-v2"


FAMILIES = (
    "DPT for classes",
    "DPT hybrid for classes",
    "MiDaS 3",
    "MiDaS 3 hybrid",
    "MiDaS 3.1 with BEiT",
    "Depth Anything",
    "Depth Anything, giant",
    "Depth Anything, metric",
)


def under_their_names(model: Any, keys: KeyMap, folder: Path) -> dict[str, Tensor]:
    """The checkpoint that the authors' code would have of a network of transformers."""
    model.save_pretrained(folder)
    config = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    network, _ = fill(
        recognise_repository(config, PREPROCESSOR, "a test"), load_file(folder / "model.safetensors")
    )
    return renamed(network, keys)


def renamed(network: RefineNet, keys: KeyMap) -> dict[str, Tensor]:
    found = {}
    for name, value in network.state_dict().items():
        theirs = keys.to_theirs(name)
        assert theirs is not None, name
        assert keys.to_ours(theirs) == name
        found[theirs] = value
    assert len(found) == len(network.state_dict())
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_gives_what_transformers_class_gives(tmp_path: Path, family: str) -> None:
    model, keys, version = original(family)
    state = under_their_names(model, keys, tmp_path / "theirs")
    unread = (
        {"pretrained.mask_token": torch.zeros(1)} if version else {"pretrained.model.norm.weight": torch.zeros(64)}
    )
    unit = "depth_head." * bool(version) + "scratch.refinenet4.resConfUnit1.conv1.weight"
    torch.save(state | unread | {unit: torch.zeros(2)}, tmp_path / "file.pt")
    done = convert_checkpoint(tmp_path / "file.pt", tmp_path / "model", version=version)
    assert set(done.left_out) == {*unread, unit}
    network, card = load_model_folder(tmp_path / "model")
    assert network.config.dpt is not None
    assert network.config.dpt.vit is not None
    patch = network.config.dpt.vit.patch
    images = torch.rand(1, 3, 2 * patch, 4 * patch)
    with torch.inference_mode():
        theirs = output(model, (images - network.mean) / network.std)
        assert float((network(images) - theirs).norm() / theirs.norm()) < 1e-4
    assert card.resize is not None
    assert card.resize.multiple == (14 if version else 32)


def test_unimatch_gives_what_its_parts_give(tmp_path: Path) -> None:
    model, _, _ = original("Depth Anything")
    state = under_their_names(model, DEPTH_ANYTHING, tmp_path / "theirs")
    draw = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (16, 16, 3, 3), "0.bias": (16,), "2.weight": (5, 16, 1, 1), "2.bias": (5,)}
    head = {name: torch.randn(shape, generator=draw) * 0.1 for name, shape in shapes.items()}
    own = {
        name.replace("pretrained.", "backbone.").replace("depth_head.", "head."): value
        for name, value in state.items()
        if "output_conv" not in name
    } | {f"head.scratch.output_conv.{name}": value for name, value in head.items()}
    # As its trainer writes: the network, the average that is scored, and more.
    wrong = {f"module.{name}": torch.zeros_like(value) for name, value in own.items()}
    average = {f"module.{name}": value for name, value in own.items()}
    torch.save({"model": wrong, "model_ema": average, "epoch": 3}, tmp_path / "best.pth")
    convert_checkpoint(tmp_path / "best.pth", tmp_path / "model", LabelMap.from_names(list("abcde")))
    network, _ = load_model_folder(tmp_path / "model")
    images = torch.rand(1, 3, 42, 70)
    with torch.inference_mode():
        pixels = (images - network.mean) / network.std
        fused = model.neck(model.backbone(pixels).feature_maps, 3, 5)[-1]
        x = F.relu(F.conv2d(fused, head["0.weight"], head["0.bias"], padding=1))
        x = F.conv2d(x, head["2.weight"], head["2.bias"])
        theirs = F.interpolate(x, (42, 70), mode="bilinear", align_corners=True)
        assert float((network(images) - theirs).norm() / theirs.norm()) < 1e-4
    assert recognise(own).keys.name == "UniMatch V2"
    victim = "backbone.blocks.1.attn.proj.weight"
    few = {key: value for key, value in own.items() if key != victim}
    many = own | {"head.unheard_of.weight": torch.zeros(1)}
    for changed, said in (
        (few, f"1 tensor missing, 0 left over.*{victim}"),
        (many, "0 tensors missing, 1 left over"),
    ):
        torch.save(changed, tmp_path / "refused.pth")
        with pytest.raises(MismatchError, match=said):
            convert_checkpoint(tmp_path / "refused.pth", tmp_path / "refused")
        assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("keys", "theirs", "ours"),
    [  # By hand, from the authors' code.
        (CLASSES, "pretrained.model.blocks.11.attn.qkv.bias", "backbones.0.net.blocks.11.attn.qkv.bias"),
        (CLASSES, "pretrained.act_postprocess4.0.project.0.weight", "reassemble.readouts.3.weight"),
        (CLASSES, "pretrained.act_postprocess1.4.weight", "reassemble.resizes.0.weight"),
        (CLASSES, "scratch.layer1_rn.weight", "decoder.stages.3.adapt.weight"),
        (CLASSES, "scratch.refinenet2.resConfUnit1.bn2.running_var", "decoder.stages.2.lateral.norm2.running_var"),
        (CLASSES, "scratch.output_conv.1.running_mean", "classifier.norm.running_mean"),
        (DEPTH, "scratch.output_conv.4.bias", "classifier.depth.bias"),
        (DEPTH_ANYTHING, "pretrained.pos_embed", "backbones.0.net.pos_embed"),
        (DEPTH_ANYTHING, "depth_head.scratch.refinenet4.out_conv.weight", "decoder.stages.0.project.weight"),
        (DEPTH_ANYTHING, "depth_head.scratch.output_conv2.2.weight", "classifier.depth.weight"),
        (UNIMATCH, "head.scratch.output_conv.2.bias", "classifier.classes.bias"),
        (
            DEPTH,
            "pretrained.model.patch_embed.backbone.stages.2.blocks.8.norm3.bias",
            "backbones.0.net.patch_embed.backbone.stages.2.blocks.8.norm3.bias",
        ),
        (GIANT, "pretrained.blocks.39.mlp.w12.weight", "backbones.0.net.blocks.39.mlp.fc1.weight"),
        (UNIMATCH, "backbone.blocks.3.ls1.gamma", "backbones.0.net.blocks.3.ls1.gamma"),
    ],
)
def test_names_by_hand(keys: KeyMap, theirs: str, ours: str) -> None:
    assert keys.to_ours(theirs) == ours
    assert keys.to_theirs(ours) == theirs


def test_what_tensors_do_not_tell_must_be_said(tmp_path: Path) -> None:
    model, keys, _ = original("Depth Anything")
    state = under_their_names(model, keys, tmp_path / "theirs")
    torch.save(state, tmp_path / "da.pth")
    with pytest.raises(InputError, match="expected --as depth-anything-v1, depth-anything-v2, "):
        convert_checkpoint(tmp_path / "da.pth", tmp_path / "model")
    convert_checkpoint(tmp_path / "da.pth", tmp_path / "model", version="depth-anything-v2-metric-outdoor")
    config = load_model_folder(tmp_path / "model")[0].config
    assert config.dpt is not None
    assert (config.dpt.depth, config.dpt.max_depth) == ("metres", 80.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_refuses_a_tensor_too_many_or_too_few(tmp_path: Path, family: str) -> None:
    model, keys, version = original(family)
    state = under_their_names(model, keys, tmp_path / "theirs")
    victim = next(name for name in state if "refinenet2" in name and name.endswith("out_conv.bias"))
    torch.save({key: value for key, value in state.items() if key != victim}, tmp_path / "few.pt")
    with pytest.raises(MismatchError, match=rf"1 tensor missing, 0 left over.*{victim}"):
        convert_checkpoint(tmp_path / "few.pt", tmp_path / "model", version=version)
    torch.save(state | {"scratch.unheard_of.weight": torch.zeros(1)}, tmp_path / "many.pt")
    with pytest.raises(MismatchError, match=r"0 tensors missing, 1 left over.*scratch\.unheard_of\.weight"):
        convert_checkpoint(tmp_path / "many.pt", tmp_path / "model", version=version)
    if version is None:
        with pytest.raises(InputError, match="expected no --as"):
            convert_checkpoint(tmp_path / "few.pt", tmp_path / "model", version="depth-anything-v2")
    assert not (tmp_path / "model").exists()


OF_SWIN = (  # names of transformers, and those of MiDaS over timm's Swin, by hand
    ("backbone.embeddings.patch_embeddings.projection", "pretrained.model.patch_embed.proj"),
    ("backbone.embeddings.norm", "pretrained.model.patch_embed.norm"),
    ("backbone.encoder.layers", "pretrained.model.layers"),
    ("backbone.swin.layernorm", "pretrained.model.norm"),
    ("attention.self.continuous_position_bias_mlp", "attn.cpb_mlp"),
    ("attention.self", "attn"),
    ("attention.output.dense", "attn.proj"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("head.head", "scratch.output_conv"),
    *((f"neck.convs.{index}", f"scratch.layer{index + 1}_rn") for index in range(4)),
    *((f"neck.fusion_stage.layers.{index}", f"scratch.refinenet{4 - index}") for index in range(4)),
    *((f"residual_layer{unit}.convolution", f"resConfUnit{unit}.conv") for unit in (1, 2)),
    (".projection", ".out_conv"),
)


def over_swin(
    second: bool, side: int, window: int, trained: list[int], folder: Path
) -> tuple[Any, dict[str, Tensor]]:
    """transformers' DPT over Swin v2, or v1 without the norms of its maps; and its tensors under MiDaS's names."""
    from transformers import SwinConfig

    changes = {"image_size": side, "window_size": window}
    if second:
        config = originals.swin(**changes, pretrained_window_sizes=trained)
    else:
        config = SwinConfig(**{**originals.swin(**changes).to_dict(), "model_type": "swin"})
    model: Any = depth(config, neck_hidden_sizes=[16, 32, 64, 128])
    if not second:
        model.neck.reassemble_stage = None
        model.backbone.swin.encoder.layers[3].blocks[1].shift_size = 0  # as timm: one window is the whole map
        for stage in list(model.backbone.hidden_states_norms):
            model.backbone.hidden_states_norms[stage] = torch.nn.Identity()
    model.save_pretrained(folder)
    found: dict[str, Tensor] = {}
    for name, value in load_file(folder / "model.safetensors").items():
        for theirs, midas in OF_SWIN:
            name = name.replace(theirs, midas)
        found[name] = value
    for name in [name for name in found if ".attn.query.weight" in name]:
        stem = name.removesuffix("query.weight")
        parts = [found.pop(f"{stem}{part}.weight") for part in ("query", "key", "value")]
        found[f"{stem}qkv.weight"] = torch.cat(parts)
        biases = {part: found.pop(f"{stem}{part}.bias") for part in ("query", "key", "value")[:: 1 + second]}
        if second:
            found |= {f"{stem}q_bias": biases["query"], f"{stem}v_bias": biases["value"]}
        else:
            found[f"{stem}qkv.bias"] = torch.cat(list(biases.values()))
    return model, found


@pytest.mark.parametrize(
    ("version", "second", "side", "window", "trained"),
    [
        ("midas-swin2-256", True, 256, 16, [0, 0, 0, 0]),
        ("midas-swin2-384", True, 384, 24, [12, 12, 12, 6]),
        ("midas-swin-384", False, 384, 12, []),
    ],
)
def test_midas_over_swin(
    tmp_path: Path, version: str, second: bool, side: int, window: int, trained: list[int]
) -> None:
    model, state = over_swin(second, side, window, trained, tmp_path / "theirs")
    unread = {
        "pretrained.model.head.weight": torch.zeros(2),
        "pretrained.model.layers.0.blocks.1.attn_mask": torch.zeros(1),
    }
    torch.save(state | unread, tmp_path / "file.pt")
    done = convert_checkpoint(tmp_path / "file.pt", tmp_path / "model", version=version)
    assert set(unread) <= set(done.left_out)
    network, card = load_model_folder(tmp_path / "model")
    assert card.resize is not None
    assert card.resize.size(300, 200) == (side, side)
    images = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        theirs = output(model, (images - 0.5) / 0.5)
        assert float((network(images) - theirs).norm() / theirs.norm()) < 1e-4
    with pytest.raises(InputError, match=r"expected --as midas-swin.*, got none: the tensors do not tell"):
        convert_checkpoint(tmp_path / "file.pt", tmp_path / "refused")
    torch.save(state | {"pretrained.model.unheard_of": torch.zeros(1)}, tmp_path / "many.pt")
    with pytest.raises(MismatchError, match="0 tensors missing, 1 left over"):
        convert_checkpoint(tmp_path / "many.pt", tmp_path / "refused", version=version)
    state.pop("pretrained.model.layers.2.downsample.norm.bias")
    torch.save(state, tmp_path / "few.pt")
    with pytest.raises(MismatchError, match="1 tensor missing, 0 left over"):
        convert_checkpoint(tmp_path / "few.pt", tmp_path / "refused", version=version)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("backbone", "tensor"),
    [
        ("LeViT", "patch_embed.0.c.weight"),
        ("Next-ViT", "stem.0.conv.weight"),
    ],
)
def test_other_backbones_of_midas_are_refused_by_name(tmp_path: Path, backbone: str, tensor: str) -> None:
    decoder = port.random_tensors(port.dpt_shapes((8, 12, 16, 20), 10, out_conv=True))
    torch.save(decoder | {f"pretrained.model.{tensor}": torch.zeros(3)}, tmp_path / "midas.pt")
    with pytest.raises(WeightsError, match=rf"got one over {backbone}: not imported"):
        convert_checkpoint(tmp_path / "midas.pt", tmp_path / "model")
    assert not (tmp_path / "model").exists()
