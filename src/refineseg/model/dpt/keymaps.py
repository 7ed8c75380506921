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
        rule
        for theirs, ours in (("residual_layer1", "lateral"), ("residual_layer2", "output"))
        for rule in (
            Rule(
                f"neck.fusion_stage.layers.{{i}}.{theirs}.convolution{{c}}",
                f"decoder.stages.{{i}}.{ours}.conv{{c}}",
            ),
            Rule(
                f"neck.fusion_stage.layers.{{i}}.{theirs}.batch_norm{{c}}",
                f"decoder.stages.{{i}}.{ours}.norm{{c}}",
            ),
        )
    ),
)


def _of_transformers(prefix: str) -> tuple[Rule, ...]:
    """Rules shared by all vision transformers of transformers, at ``prefix``."""
    theirs, ours = f"{prefix}.encoder.layer.{{n}}", f"{VIT}.blocks.{{n}}"
    joint = zip(("query", "key", "value"), range(PARTS), strict=True)
    return (
        Rule(f"{prefix}.embeddings.cls_token", f"{VIT}.cls_token", whole=True),
        Rule(f"{prefix}.embeddings.position_embeddings", f"{VIT}.pos_embed", whole=True),
        Rule(f"{prefix}.embeddings.patch_embeddings.projection", f"{VIT}.patch_embed.proj"),
        *(Rule(f"{theirs}.attention.attention.{name}", f"{ours}.{JOINT}:{part}") for name, part in joint),
        Rule(f"{theirs}.attention.output.dense", f"{ours}.attn.proj"),
        Rule(f"{prefix}.layernorm", f"{VIT}.norm"),
    )


def _mlp_of_vit(prefix: str) -> tuple[Rule, ...]:
    theirs, ours = f"{prefix}.encoder.layer.{{n}}", f"{VIT}.blocks.{{n}}"
    return (
        Rule(f"{theirs}.layernorm_before", f"{ours}.norm1"),
        Rule(f"{theirs}.layernorm_after", f"{ours}.norm2"),
        Rule(f"{theirs}.intermediate.dense", f"{ours}.mlp.fc1"),
        Rule(f"{theirs}.output.dense", f"{ours}.mlp.fc2"),
    )


_LAYER = "backbone.encoder.layer.{n}"
_BLOCK = f"{VIT}.blocks.{{n}}"
PLAIN_VIT = (*_of_transformers("dpt"), *_mlp_of_vit("dpt"))
_BIT, _RESNET = "dpt.embeddings.backbone.bit", f"{VIT}.patch_embed.backbone"
HYBRID = (
    Rule(f"{_BIT}.embedder.convolution", f"{_RESNET}.stem.conv"),
    Rule(f"{_BIT}.embedder.norm", f"{_RESNET}.stem.norm"),
    Rule(f"{_BIT}.encoder.stages.{{s}}.layers.{{n}}.{{rest}}", f"{_RESNET}.stages.{{s}}.blocks.{{n}}.{{rest}}"),
    Rule("dpt.embeddings.projection", f"{VIT}.patch_embed.proj"),
    *PLAIN_VIT,
)
DINOV2 = (
    *_of_transformers("backbone"),
    Rule(f"{_LAYER}.norm{{c}}", f"{_BLOCK}.norm{{c}}"),
    Rule(f"{_LAYER}.layer_scale{{c}}.lambda1", f"{_BLOCK}.ls{{c}}.gamma", whole=True),
    Rule(f"{_LAYER}.mlp.fc{{c}}", f"{_BLOCK}.mlp.fc{{c}}"),
)
DINOV2_SWIGLU = (  # of the giant network
    Rule(f"{_LAYER}.mlp.weights_in", f"{_BLOCK}.mlp.fc1"),
    Rule(f"{_LAYER}.mlp.weights_out", f"{_BLOCK}.mlp.fc2"),
    *DINOV2,
)
BEIT = (
    Rule(f"{_LAYER}.attention.attention.query.bias", f"{_BLOCK}.attn.q_bias", whole=True),
    Rule(f"{_LAYER}.attention.attention.value.bias", f"{_BLOCK}.attn.v_bias", whole=True),
    Rule(f"{_LAYER}.attention.attention.relative_position_bias", f"{_BLOCK}.attn"),
    Rule(f"{_LAYER}.lambda_{{c}}", f"{_BLOCK}.gamma_{{c}}", whole=True),
    *_of_transformers("backbone"),
    *_mlp_of_vit("backbone"),
)

_SWIN, _STAGE = "backbone.encoder.layers.{i}.blocks.{n}", f"{VIT}.layers_{{i}}.blocks.{{n}}"
SWIN = (
    Rule("backbone.embeddings.patch_embeddings.projection", f"{VIT}.patch_embed.proj"),
    Rule("backbone.embeddings.norm", f"{VIT}.patch_embed.norm"),
    Rule(f"{_SWIN}.attention.self.query.bias", f"{_STAGE}.attn.q_bias", whole=True),
    Rule(f"{_SWIN}.attention.self.value.bias", f"{_STAGE}.attn.v_bias", whole=True),
    Rule(f"{_SWIN}.attention.self.logit_scale", f"{_STAGE}.attn.logit_scale", whole=True),
    *(
        Rule(f"{_SWIN}.attention.self.{name}", f"{_STAGE}.{JOINT}:{part}")
        for part, name in enumerate(("query", "key", "value"))
    ),
    Rule(f"{_SWIN}.attention.self.continuous_position_bias_mlp.{{c}}", f"{_STAGE}.attn.cpb_mlp.{{c}}"),
    Rule(f"{_SWIN}.attention.output.dense", f"{_STAGE}.attn.proj"),
    Rule(f"{_SWIN}.layernorm_before", f"{_STAGE}.norm1"),
    Rule(f"{_SWIN}.layernorm_after", f"{_STAGE}.norm2"),
    Rule(f"{_SWIN}.intermediate.dense", f"{_STAGE}.mlp.fc1"),
    Rule(f"{_SWIN}.output.dense", f"{_STAGE}.mlp.fc2"),
    # Downsampling ends a stage in transformers, and begins the next one in timm.
    Rule("backbone.encoder.layers.{i-1}.downsample.{rest}", f"{VIT}.layers_{{i}}.downsample.{{rest}}"),
)

CLASSES = (
    Rule("head.head.0", "classifier.conv"),
    Rule("head.head.1", "classifier.norm"),
    Rule("head.head.4", "classifier.classes"),
)
DEPTH = (
    Rule("head.projection", "classifier.project"),
    Rule("head.head.0", "classifier.conv1"),
    Rule("head.head.2", "classifier.conv2"),
    Rule("head.head.4", "classifier.depth"),
)
DEPTH_ANYTHING_HEAD = (Rule("head.conv3", "classifier.depth"), Rule("head.conv{c}", "classifier.conv{c}"))

# Files of the authors' own code -----------------------------------------------------------------------------


def _scratch(prefix: str = "") -> tuple[Rule, ...]:
    """Rules for the decoder under MiDaS's names."""
    unit = f"{prefix}scratch.refinenet{{i}}.resConfUnit"
    return (
        Rule(f"{prefix}scratch.layer{{i}}_rn", "decoder.stages.{4-i}.adapt"),
        Rule(f"{unit}1.conv{{c}}", "decoder.stages.{4-i}.lateral.conv{c}"),
        Rule(f"{unit}1.bn{{c}}", "decoder.stages.{4-i}.lateral.norm{c}"),
        Rule(f"{unit}2.conv{{c}}", "decoder.stages.{4-i}.output.conv{c}"),
        Rule(f"{unit}2.bn{{c}}", "decoder.stages.{4-i}.output.norm{c}"),
        Rule(f"{prefix}scratch.refinenet{{i}}.out_conv", "decoder.stages.{4-i}.project"),
    )


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
MIDAS_CLASSES = (
    Rule("scratch.output_conv.0", "classifier.conv"),
    Rule("scratch.output_conv.1", "classifier.norm"),
    Rule("scratch.output_conv.4", "classifier.classes"),
)
MIDAS_DEPTH = (
    Rule("scratch.output_conv.0", "classifier.conv1"),
    Rule("scratch.output_conv.2", "classifier.conv2"),
    Rule("scratch.output_conv.4", "classifier.depth"),
)


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
    Rule("depth_head.scratch.output_conv2.0", "classifier.conv2"),
    Rule("depth_head.scratch.output_conv2.2", "classifier.depth"),
    *_own_vit("pretrained"),
)
UNIMATCH = (
    *_dinov2_head("head."),
    Rule("head.scratch.output_conv.0", "classifier.conv"),
    Rule("head.scratch.output_conv.2", "classifier.classes"),
    *_own_vit("backbone"),
)


def key_map(name: str, *rules: tuple[Rule, ...]) -> KeyMap:
    """A map made of several groups of rules."""
    return KeyMap(name, tuple(rule for group in rules for rule in group))
