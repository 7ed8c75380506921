"""Two-way maps between the tensor names of published checkpoints and ours, written as rules.

A rule is a pair of name templates. ``{b}`` is a number, ``{b-1}`` that number minus one, ``{4-k}`` four minus that
number, ``{part}`` the name of a layer inside a residual unit, ``{rest}`` any text. The part after the last dot
(weight, bias, running_mean ...) is copied, unless the rule is for whole names. The first matching rule applies.

Sources: the names of the two PyTorch ports (full: b = 1 is the block at stride 32; MobileNet-v2: crp4 is) and of
DPT and MiDaS (refinenet1 is the block at stride 4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any

from refineseg.errors import WeightsError

FIELD = re.compile(r"\{(?:(\d+)-)?([a-z]+)(?:-(\d+))?\}")
TEXTS = {"part": r"(?:conv|bn)\d|downsample\.\d", "rest": r".+"}  # fields that are not numbers


@dataclass(frozen=True)
class Rule:
    """A pair of name templates with the same fields; ``whole`` includes the part after the last dot."""

    theirs: str
    ours: str
    whole: bool = False


@dataclass(frozen=True)
class KeyMap:
    """Rules that rename tensors in both directions."""

    name: str  # name of the family of checkpoints, as printed
    rules: tuple[Rule, ...]  # rules, of which the first matching one applies

    def to_ours(self, key: str) -> str | None:
        """Our name of one of their tensors; None if no rule matches."""
        return _rename(key, ((rule.theirs, rule.ours, rule.whole) for rule in self.rules))

    def to_theirs(self, key: str) -> str | None:
        """Their name of one of our tensors; None if no rule matches."""
        return _rename(key, ((rule.ours, rule.theirs, rule.whole) for rule in self.rules))

    def pairs(self, keys: Iterable[str]) -> dict[str, str]:
        """Our names by their names, for those of ``keys`` (theirs) that match a rule.

        Raises WeightsError if two names would become the same, which does not occur in published files.
        """
        known = {key: ours for key in keys if (ours := self.to_ours(key)) is not None}
        if len(set(known.values())) != len(known):
            names = list(known.values())
            twice = sorted({name for name in names if names.count(name) > 1})
            raise WeightsError(f"expected every tensor under one name, got two that mean {twice[0]}")
        return known


def _rename(key: str, templates: Iterable[tuple[str, str, bool]]) -> str | None:
    stem, dot, leaf = key.rpartition(".")
    for source, target, whole in templates:
        values = _template(source).read(key if whole else stem)
        renamed = None if values is None else _template(target).write(values)
        if renamed is not None:
            return renamed if whole else renamed + dot + leaf
    return None


class Template:
    """A name with fields."""

    def __init__(self, text: str) -> None:
        # Name, sign and offset of each field: {b-1} is b + -1, {4-k} is -k + 4.
        self.fields = [
            (name, -1 if minuend else 1, int(minuend or 0) - int(subtrahend or 0))
            for minuend, name, subtrahend in FIELD.findall(text)
        ]
        self.form = FIELD.sub("{}", text)
        between = (re.escape(part) for part in self.form.split("{}"))
        groups = [f"({TEXTS.get(name, '[0-9]+')})" for name, _, _ in self.fields]
        self.pattern = re.compile("".join(map("".join, zip_longest(between, groups, fillvalue=""))))

    def read(self, name: str) -> dict[str, Any] | None:
        """The values of the fields in a name; None if it is another name."""
        found = self.pattern.fullmatch(name)
        if found is None:
            return None
        pairs = zip(self.fields, found.groups(), strict=True)
        return {key: text if key in TEXTS else sign * (int(text) - offset) for (key, sign, offset), text in pairs}

    def write(self, values: Mapping[str, Any]) -> str | None:
        """The name with these values; None if a number would be negative."""
        written = [
            values[key] if key in TEXTS else sign * values[key] + offset for key, sign, offset in self.fields
        ]
        negative = any(isinstance(value, int) and value < 0 for value in written)
        return None if negative else self.form.format(*written)


_template = cache(Template)


def _unit(theirs: str, ours: str) -> tuple[Rule, Rule]:
    """Rules for the two convolutions of a residual conv unit."""
    return (Rule(f"{theirs}_conv", f"{ours}.conv1"), Rule(f"{theirs}_conv_relu_varout_dimred", f"{ours}.conv2"))


# Both ports on ResNets; the rules for residual conv units do not match in the light-weight port, which has none.
RESNET_PORT = KeyMap(
    "PyTorch port on a ResNet",
    (
        Rule("conv1", "backbones.0.net.conv1"),
        Rule("bn1", "backbones.0.net.bn1"),
        Rule("layer{s}.{m}.{part}", "backbones.0.net.layer{s}.{m}.{part}"),
        Rule("p_ims1d2_outl{b}_dimred", "decoder.blocks.{b-1}.adapt.0.0"),
        *_unit("adapt_stage{b}_b.0.{u}", "decoder.blocks.{b-1}.adapt.0.{u}"),
        Rule("adapt_stage{b}_b2_joint_varout_dimred", "decoder.blocks.{b-1}.fusion.convs.0"),
        Rule("mflow_conv_g{b}_pool.0.{k}_outvar_dimred", "decoder.blocks.{b-1}.pooling.convs.{k-1}"),
        *_unit("mflow_conv_g{b}_b.0.{u}", "decoder.blocks.{b-1}.output.{u-1}"),
        Rule("mflow_conv_g{b}_b3_joint_varout_dimred", "decoder.blocks.{b}.fusion.convs.1"),
        Rule("clf_conv", "classifier"),
    ),
)

# The authors' files, after their names are changed to the port's (matconvnet.port_name).
MATCONVNET = KeyMap("the authors' MATLAB code", (*RESNET_PORT.rules, *_unit("lossblock_b.0.{u}", "final.{u-1}")))

# Maps of the backbone: conv3 ... conv8 adapt the maps of layer3 ... layer8; two maps each at strides 16 and 32.
MOBILENET_PORT = KeyMap(
    "PyTorch port on MobileNet-v2",
    (
        Rule("layer1.0", "backbones.0.conv_stem"),
        Rule("layer1.1", "backbones.0.bn1"),
        # The first inverted residual: our expansion, then timm's depthwise separable block.
        Rule("layer2.0.output.0.0", "backbones.0.expand.conv"),
        Rule("layer2.0.output.0.1", "backbones.0.expand.norm"),
        Rule("layer2.0.output.1.0", "backbones.0.blocks.0.0.conv_dw"),
        Rule("layer2.0.output.1.1", "backbones.0.blocks.0.0.bn1"),
        Rule("layer2.0.output.2.0", "backbones.0.blocks.0.0.conv_pw"),
        Rule("layer2.0.output.2.1", "backbones.0.blocks.0.0.bn2"),
        Rule("layer{n}.{m}.output.0.0", "backbones.0.blocks.{n-2}.{m}.conv_pw"),
        Rule("layer{n}.{m}.output.0.1", "backbones.0.blocks.{n-2}.{m}.bn1"),
        Rule("layer{n}.{m}.output.1.0", "backbones.0.blocks.{n-2}.{m}.conv_dw"),
        Rule("layer{n}.{m}.output.1.1", "backbones.0.blocks.{n-2}.{m}.bn2"),
        Rule("layer{n}.{m}.output.2.0", "backbones.0.blocks.{n-2}.{m}.conv_pwl"),
        Rule("layer{n}.{m}.output.2.1", "backbones.0.blocks.{n-2}.{m}.bn3"),
        Rule("conv7", "decoder.blocks.0.adapt.0.0"),
        Rule("conv8", "decoder.blocks.0.adapt.1.0"),
        Rule("conv5", "decoder.blocks.1.adapt.0.0"),
        Rule("conv6", "decoder.blocks.1.adapt.1.0"),
        Rule("conv4", "decoder.blocks.2.adapt.0.0"),
        Rule("conv3", "decoder.blocks.3.adapt.0.0"),
        Rule("crp{i}.0.{k}_outvar_dimred", "decoder.blocks.{4-i}.pooling.convs.{k-1}"),
        Rule("conv_adapt4", "decoder.blocks.1.fusion.convs.2"),
        Rule("conv_adapt3", "decoder.blocks.2.fusion.convs.1"),
        Rule("conv_adapt2", "decoder.blocks.3.fusion.convs.1"),
        Rule("segm", "classifier"),
    ),
)

# The same network with two or three heads.
MULTI_TASK_PORT = KeyMap(
    "multi-task port on MobileNet-v2",
    (
        Rule("pre_segm", "classifier.scale"),
        Rule("segm", "classifier.out"),
        Rule("pre_depth", "further.depth.scale"),
        Rule("depth", "further.depth.out"),
        Rule("pre_normal", "further.normals.scale"),
        Rule("normal", "further.normals.out"),
        *MOBILENET_PORT.rules,
    ),
)
