"""Two-way maps between the tensor names of published checkpoints and ours, written as rules.

A rule is a pair of name templates. ``{b}`` is a number, ``{b-1}`` that number minus one, ``{4-k}`` four minus that
number, ``{part}`` the name of a layer inside a residual unit, ``{rest}`` any text. The part after the last dot
(weight, bias, running_mean ...) is copied, unless the rule is for whole names. The first matching rule applies.

Sources: the names of the two PyTorch ports (full: b = 1 is the block at stride 32; MobileNet-v2: crp4 is) and of
DPT and MiDaS (refinenet1 is the block at stride 4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from refineseg.errors import WeightsError

Table = list[tuple[re.Pattern[str], str, bool]]  # pattern of a name, template of the other, whole names
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
        return _rename(key, self._forward)

    def to_theirs(self, key: str) -> str | None:
        """Their name of one of our tensors; None if no rule matches."""
        return _rename(key, self._backward)

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

    @cached_property
    def _forward(self) -> Table:
        return [(_pattern(rule.theirs), rule.ours, rule.whole) for rule in self.rules]

    @cached_property
    def _backward(self) -> Table:
        # Solved for the fields: {b-1} read backwards gives b.
        return [(_pattern(rule.ours), rule.theirs, rule.whole) for rule in self.rules]


def _rename(key: str, table: Table) -> str | None:
    stem, dot, leaf = key.rpartition(".")
    for pattern, target, whole in table:
        found = pattern.fullmatch(key if whole else stem)
        if found is None:
            continue
        fields = {name: _solve(name, text) for name, text in found.groupdict().items()}
        values = {name.split("__")[0]: value for name, value in fields.items()}
        written = [_write(field, values) for field in FIELD.finditer(target)]
        if None in written:
            continue
        texts = iter(text for text in written if text is not None)
        renamed = FIELD.sub(lambda _, texts=texts: next(texts), target)  # type: ignore[misc]
        return renamed if whole else renamed + dot + leaf
    return None


def _pattern(template: str) -> re.Pattern[str]:
    """The pattern of a template; its group names contain the arithmetic: field__minuend__subtrahend."""
    parts, end = [], 0
    for field in FIELD.finditer(template):
        minuend, name, subtrahend = field.groups()
        group = f"{name}__{minuend or ''}__{subtrahend or ''}"
        inner = TEXTS.get(name, r"\d+")
        parts += [re.escape(template[end : field.start()]), f"(?P<{group}>{inner})"]
        end = field.end()
    return re.compile("".join(parts) + re.escape(template[end:]))


def _solve(group: str, text: str) -> str | int:
    """The field's value from the text of a group: {b-1} with text 0 is b = 1; {4-k} with text 1 is k = 3."""
    name, minuend, subtrahend = group.split("__")
    if name in TEXTS:
        return text
    return int(minuend) - int(text) if minuend else int(text) + int(subtrahend or 0)


def _write(field: re.Match[str], values: dict[str, str | int]) -> str | None:
    """The text of a field in a template; None if its number would be negative."""
    minuend, name, subtrahend = field.groups()
    value = values[name]
    if isinstance(value, str):
        return value
    number = int(minuend) - value if minuend else value - int(subtrahend or 0)
    return str(number) if number >= 0 else None


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
