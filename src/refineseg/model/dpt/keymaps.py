"""Maps between the tensor names of published DPT networks and ours.

Sources: ``transformers`` (DPT, Depth Anything; over its ViT, DINOv2 and BEiT), isl-org/DPT and isl-org/MiDaS (over
timm's ViT, BEiT and Swin), Depth Anything v1 and v2, UniMatch V2 (over DINOv2's own code). ``NAME:0``, ``NAME:1``
and ``NAME:2`` are the three parts of our joint projection to queries, keys and values (see ``split_projections``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from refineseg.model.tensors.keymaps import KeyMap, Rule

VIT = "backbones.0.net"
JOINT = "attn.qkv"  # one matrix in timm, three in transformers
PARTS = 3


def split_projections(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes by our names with the joint projections in three, under ``NAME:0`` ... ``NAME:2``."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if f"{JOINT}." in name:
            for part in range(PARTS):
                found[name.replace(f"{JOINT}.", f"{JOINT}:{part}.")] = (shape[0] // PARTS, *shape[1:])
        else:
            found[name] = shape
    return found


def joined_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with the three parts of each joint projection in one."""
    found = {name: value for name, value in state.items() if f"{JOINT}:" not in name}
    for name in state:
        if f"{JOINT}:0." in name:
            parts = [state[name.replace(":0.", f":{part}.")] for part in range(PARTS)]
            found[name.replace(":0.", ".")] = torch.cat(parts)
    return found


# transformers -----------------------------------------------------------------------------------------------

NECK = (
    Rule("neck.reassemble_stage.readout_projects.{i}.0", "reassemble.readouts.{i}"),
    Rule("neck.reassemble_stage.layers.{i}.projection", "reassemble.projections.{i}"),
    Rule("neck.reassemble_stage.layers.{i}.resize", "reassemble.resizes.{i}"),
    Rule("neck.convs.{i}", "decoder.stages.{3-i}.adapt"),
    Rule("neck.fusion_stage.layers.{i}.projection", "decoder.stages.{i}.project"),
    *(
        Rule(f"neck.fusion_stage.layers.{{i}}.{theirs}.{part}{{c}}", f"decoder.stages.{{i}}.{ours}.{name}{{c}}")
        for theirs, ours in (("residual_layer1", "lateral"), ("residual_layer2", "output"))
        for part, name in (("convolution", "conv"), ("batch_norm", "norm"))
    ),
)


_LAYER, _BLOCK = "backbone.encoder.layer.{n}", f"{VIT}.blocks.{{n}}"
_SWIN, _STAGE = "backbone.encoder.layers.{i}.blocks.{n}", f"{VIT}.layers_{{i}}.blocks.{{n}}"


def _layer(theirs: str, ours: str, attention: str = "attention") -> tuple[Rule, ...]:
    """Rules for a layer of a transformer, as ViT, BEiT and Swin name its parts."""
    joint = enumerate(("query", "key", "value"))
    return (
        *(Rule(f"{theirs}.attention.{attention}.{name}", f"{ours}.{JOINT}:{part}") for part, name in joint),
        Rule(f"{theirs}.attention.output.dense", f"{ours}.attn.proj"),
        Rule(f"{theirs}.layernorm_before", f"{ours}.norm1"),
        Rule(f"{theirs}.layernorm_after", f"{ours}.norm2"),
        Rule(f"{theirs}.intermediate.dense", f"{ours}.mlp.fc1"),
        Rule(f"{theirs}.output.dense", f"{ours}.mlp.fc2"),
    )


def _vit(prefix: str, *own: Rule) -> tuple[Rule, ...]:
    """Rules for a vision transformer of transformers at ``prefix``; its ``own`` come first."""
    return (
        *own,
        Rule(f"{prefix}.embeddings.cls_token", f"{VIT}.cls_token", whole=True),
        Rule(f"{prefix}.embeddings.position_embeddings", f"{VIT}.pos_embed", whole=True),
        Rule(f"{prefix}.embeddings.patch_embeddings.projection", f"{VIT}.patch_embed.proj"),
        *_layer(f"{prefix}.encoder.layer.{{n}}", _BLOCK),
        Rule(f"{prefix}.layernorm", f"{VIT}.norm"),
    )


PLAIN_VIT = _vit("dpt")
_BIT, _RESNET = "dpt.embeddings.backbone.bit", f"{VIT}.patch_embed.backbone"
HYBRID = (
    Rule(f"{_BIT}.embedder.convolution", f"{_RESNET}.stem.conv"),
    Rule(f"{_BIT}.embedder.norm", f"{_RESNET}.stem.norm"),
    Rule(f"{_BIT}.encoder.stages.{{s}}.layers.{{n}}.{{rest}}", f"{_RESNET}.stages.{{s}}.blocks.{{n}}.{{rest}}"),
    Rule("dpt.embeddings.projection", f"{VIT}.patch_embed.proj"),
    *PLAIN_VIT,
)
DINOV2 = _vit(
    "backbone",
    Rule(f"{_LAYER}.norm{{c}}", f"{_BLOCK}.norm{{c}}"),
    Rule(f"{_LAYER}.layer_scale{{c}}.lambda1", f"{_BLOCK}.ls{{c}}.gamma", whole=True),
    Rule(f"{_LAYER}.mlp.fc{{c}}", f"{_BLOCK}.mlp.fc{{c}}"),
)
DINOV2_SWIGLU = (  # of the giant network
    Rule(f"{_LAYER}.mlp.weights_in", f"{_BLOCK}.mlp.fc1"),
    Rule(f"{_LAYER}.mlp.weights_out", f"{_BLOCK}.mlp.fc2"),
    *DINOV2,
)
BEIT = _vit(
    "backbone",
    Rule(f"{_LAYER}.attention.attention.query.bias", f"{_BLOCK}.attn.q_bias", whole=True),
    Rule(f"{_LAYER}.attention.attention.value.bias", f"{_BLOCK}.attn.v_bias", whole=True),
    Rule(f"{_LAYER}.attention.attention.relative_position_bias", f"{_BLOCK}.attn"),
    Rule(f"{_LAYER}.lambda_{{c}}", f"{_BLOCK}.gamma_{{c}}", whole=True),
)
SWIN = (
    Rule("backbone.embeddings.patch_embeddings.projection", f"{VIT}.patch_embed.proj"),
    Rule("backbone.embeddings.norm", f"{VIT}.patch_embed.norm"),
    Rule(f"{_SWIN}.attention.self.query.bias", f"{_STAGE}.attn.q_bias", whole=True),
    Rule(f"{_SWIN}.attention.self.value.bias", f"{_STAGE}.attn.v_bias", whole=True),
    Rule(f"{_SWIN}.attention.self.logit_scale", f"{_STAGE}.attn.logit_scale", whole=True),
    Rule(f"{_SWIN}.attention.self.continuous_position_bias_mlp.{{c}}", f"{_STAGE}.attn.cpb_mlp.{{c}}"),
    *_layer(_SWIN, _STAGE, "self"),
    # Downsampling ends a stage in transformers, and begins the next one in timm.
    Rule("backbone.encoder.layers.{i-1}.downsample.{rest}", f"{VIT}.layers_{{i}}.downsample.{{rest}}"),
)


def _head(theirs: str, layers: Mapping[int, str]) -> tuple[Rule, ...]:
    """Rules for the layers of a head by their positions in a sequence."""
    return tuple(Rule(f"{theirs}.{position}", f"classifier.{ours}") for position, ours in layers.items())


_CLASS_LAYERS = {0: "conv", 1: "norm", 4: "classes"}
_DEPTH_LAYERS = {0: "conv1", 2: "conv2", 4: "depth"}
CLASSES = _head("head.head", _CLASS_LAYERS)
DEPTH = (Rule("head.projection", "classifier.project"), *_head("head.head", _DEPTH_LAYERS))
DEPTH_ANYTHING_HEAD = (Rule("head.conv3", "classifier.depth"), Rule("head.conv{c}", "classifier.conv{c}"))

# Files of the authors' own code -----------------------------------------------------------------------------


def _scratch(prefix: str = "", decoder: str = "decoder.") -> tuple[Rule, ...]:
    """Rules for the decoder under MiDaS's names; ours counts its stages from coarse (0) to fine (3)."""
    unit, stage = f"{prefix}scratch.refinenet{{i}}.resConfUnit", f"{decoder}stages.{{4-i}}"
    return (
        Rule(f"{prefix}scratch.layer{{i}}_rn", f"{stage}.adapt"),
        Rule(f"{unit}1.conv{{c}}", f"{stage}.lateral.conv{{c}}"),
        Rule(f"{unit}1.bn{{c}}", f"{stage}.lateral.norm{{c}}"),
        Rule(f"{unit}2.conv{{c}}", f"{stage}.output.conv{{c}}"),
        Rule(f"{unit}2.bn{{c}}", f"{stage}.output.norm{{c}}"),
        Rule(f"{prefix}scratch.refinenet{{i}}.out_conv", f"{stage}.project"),
    )


DECODER = KeyMap("DPT or MiDaS decoder", _scratch(decoder=""))


def swiglu(prefix: str) -> tuple[Rule, ...]:
    """Rules for DINOv2 giant's MLP under its own names; they must come before the other rules."""
    theirs, ours = f"{prefix}.blocks.{{n}}.mlp", f"{VIT}.blocks.{{n}}.mlp"
    return Rule(f"{theirs}.w12", f"{ours}.fc1"), Rule(f"{theirs}.w3", f"{ours}.fc2")


def _own_vit(prefix: str) -> tuple[Rule, ...]:
    """Rules for a vision transformer under timm's names, which are also DINOv2's."""
    return (
        Rule(f"{prefix}.cls_token", f"{VIT}.cls_token", whole=True),
        Rule(f"{prefix}.pos_embed", f"{VIT}.pos_embed", whole=True),
        Rule(f"{prefix}.{{rest}}", f"{VIT}.{{rest}}"),
    )


SWIN_OF_TIMM = (  # of timm's first versions, where downsampling ended a stage too
    Rule("pretrained.model.layers.{i-1}.downsample.{rest}", f"{VIT}.layers_{{i}}.downsample.{{rest}}"),
    Rule("pretrained.model.layers.{i}.blocks.{n}.{rest}", f"{_STAGE}.{{rest}}"),
    Rule("pretrained.model.patch_embed.{rest}", f"{VIT}.patch_embed.{{rest}}"),
    *_scratch(),
)
MIDAS = (
    Rule("pretrained.act_postprocess{i}.0.project.0", "reassemble.readouts.{i-1}"),
    Rule("pretrained.act_postprocess{i}.3", "reassemble.projections.{i-1}"),
    Rule("pretrained.act_postprocess{i}.4", "reassemble.resizes.{i-1}"),
    *_scratch(),
    *_own_vit("pretrained.model"),
)
MIDAS_CLASSES = _head("scratch.output_conv", _CLASS_LAYERS)
MIDAS_DEPTH = _head("scratch.output_conv", _DEPTH_LAYERS)


def _dinov2_head(prefix: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{prefix}readout_projects.{{i}}.0", "reassemble.readouts.{i}"),
        Rule(f"{prefix}projects.{{i}}", "reassemble.projections.{i}"),
        Rule(f"{prefix}resize_layers.{{i}}", "reassemble.resizes.{i}"),
        *_scratch(prefix),
    )


DEPTH_ANYTHING = (
    *_dinov2_head("depth_head."),
    Rule("depth_head.scratch.output_conv1", "classifier.conv1"),
    *_head("depth_head.scratch.output_conv2", {0: "conv2", 2: "depth"}),
    *_own_vit("pretrained"),
)
UNIMATCH = (
    *_dinov2_head("head."),
    *_head("head.scratch.output_conv", {0: "conv", 2: "classes"}),
    *_own_vit("backbone"),
)


def key_map(name: str, *rules: tuple[Rule, ...]) -> KeyMap:
    """A map made of several groups of rules."""
    return KeyMap(name, tuple(rule for group in rules for rule in group))
