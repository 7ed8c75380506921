"""The maps of names: both ways, every name once."""

from __future__ import annotations

import pytest
import torch

from refineseg.errors import WeightsError
from refineseg.model import create_model
from refineseg.model.dpt import DecoderConfig, DPTDecoder
from refineseg.model.dpt.keymaps import DECODER as DPT_DECODER
from refineseg.model.tensors.keymaps import MOBILENET_PORT, MULTI_TASK_PORT, RESNET_PORT, KeyMap
from tests.model import port_reference as port

RESNETS = [(depth, full) for depth in (18, 34, 50, 101, 152) for full in (True, False)]


def our_names(preset: str) -> set[str]:
    with torch.device("meta"):
        return set(create_model(preset, 21).state_dict())


def check_bijection(keys: KeyMap, theirs: set[str], ours: set[str]) -> None:
    pairs = keys.pairs(theirs)
    assert set(pairs) == theirs  # every one of their names is known
    assert set(pairs.values()) == ours  # and every one of ours is met
    assert len(pairs) == len(ours)  # once
    assert {name: keys.to_theirs(name) for name in ours} == {name: key for key, name in pairs.items()}


@pytest.mark.parametrize(("depth", "full"), RESNETS)
def test_resnet_port_names_are_ours_one_to_one(depth: int, full: bool) -> None:
    theirs = {name for name, _ in port.resnet_port_shapes(depth, full, 21)}
    check_bijection(RESNET_PORT, theirs, our_names(f"refinenet-{'' if full else 'lw-'}r{depth}"))


def test_mobilenet_port_names_are_ours_one_to_one() -> None:
    theirs = {name for name, _ in port.mobilenet_port_shapes(21)}
    check_bijection(MOBILENET_PORT, theirs, our_names("refinenet-lw-mbv2-released"))


@pytest.mark.parametrize("out_conv", [True, False])
def test_dpt_names_are_ours_one_to_one(out_conv: bool) -> None:
    theirs = {name for name, _ in port.dpt_shapes((8, 12, 16, 20), 10, out_conv, unread=False)}
    decoder = DPTDecoder(DecoderConfig((8, 12, 16, 20), (10,) * 4, 10, project=out_conv))
    check_bijection(DPT_DECODER, theirs, set(decoder.state_dict()))


@pytest.mark.parametrize(
    ("keys", "theirs", "ours"),
    [
        # By hand: block g1 is the coarsest (ours 0), its output meets the fusion of the next (ours 1, path 1).
        (RESNET_PORT, "p_ims1d2_outl3_dimred.weight", "decoder.blocks.2.adapt.0.0.weight"),
        (RESNET_PORT, "adapt_stage4_b.0.2_conv.bias", "decoder.blocks.3.adapt.0.2.conv1.bias"),
        (
            RESNET_PORT,
            "mflow_conv_g2_b.0.3_conv_relu_varout_dimred.weight",
            "decoder.blocks.1.output.2.conv2.weight",
        ),
        (RESNET_PORT, "mflow_conv_g1_b3_joint_varout_dimred.weight", "decoder.blocks.1.fusion.convs.1.weight"),
        (RESNET_PORT, "layer3.22.bn2.running_var", "backbones.0.net.layer3.22.bn2.running_var"),
        (MOBILENET_PORT, "layer2.0.output.0.1.bias", "backbones.0.expand.norm.bias"),
        (MOBILENET_PORT, "layer5.3.output.1.0.weight", "backbones.0.blocks.3.3.conv_dw.weight"),
        (MOBILENET_PORT, "crp4.0.1_outvar_dimred.weight", "decoder.blocks.0.pooling.convs.0.weight"),
        (MOBILENET_PORT, "conv_adapt4.weight", "decoder.blocks.1.fusion.convs.2.weight"),
        (DPT_DECODER, "scratch.refinenet4.resConfUnit2.conv1.bias", "stages.0.output.conv1.bias"),
    ],
)
def test_single_names(keys: KeyMap, theirs: str, ours: str) -> None:
    assert keys.to_ours(theirs) == ours
    assert keys.to_theirs(ours) == theirs


@pytest.mark.parametrize(
    "keys", [RESNET_PORT, MOBILENET_PORT, MULTI_TASK_PORT, DPT_DECODER], ids=lambda keys: keys.name
)
@pytest.mark.parametrize("name", ["fc.weight", "layer1", "", "crp5.0.1_outvar_dimred.weight", "decoder"])
def test_unknown_names_have_no_counterpart(keys: KeyMap, name: str) -> None:
    assert keys.to_ours(name) is None
    assert keys.to_theirs(name) is None


def test_two_names_for_one_tensor_are_refused() -> None:
    with pytest.raises(WeightsError, match="two that mean"):
        RESNET_PORT.pairs(["p_ims1d2_outl1_dimred.weight", "p_ims1d2_outl01_dimred.weight"])
