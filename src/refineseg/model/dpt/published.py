"""Recognition of DPT checkpoints of the authors' own code by the names and shapes of their tensors.

isl-org/DPT and isl-org/MiDaS 3 (``pretrained.model`` and ``scratch``), Depth Anything v1 and v2 (``pretrained``
and ``depth_head``) and UniMatch V2 (``backbone`` and ``head``). The files hold tensors only. Settings that these
do not show (``DEPTH_ANYTHING_VERSIONS`` and those of Swin) must be given; they are never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

from torch import Tensor

from refineseg.config import ModelConfig
from refineseg.config.dpt import MAPS, DPTConfig, SwinSizes, ViTSizes
from refineseg.config.resize import Resize
from refineseg.errors import InputError, WeightsError
from refineseg.model.dpt import keymaps
from refineseg.model.dpt.recognised import HYBRID, RecognisedNetwork
from refineseg.model.folders.pretrained import HALF
from refineseg.model.tensors.keymaps import KeyMap

HALVES: dict[str, Any] = {"mean": HALF, "std": HALF}  # MiDaS's normalisation; others have ImageNet's
HEAD_CHANNELS = 64  # channels of an attention head in all of these networks
LAYERS = {24: (4, 11, 17, 23)}  # layers of Depth Anything v2 and UniMatch V2, by depth; else the ends of quarters
MIDAS_3 = "pretrained.model."
DEPTH_ANYTHING = "depth_head."
UNIMATCH = "backbone.blocks."
NOT_IMPORTED = {  # unsupported backbones by the beginning of names
    "patch_embed.0.": "LeViT",
    "stem.": "Next-ViT",
    "features.": "Next-ViT",
}
STEM = "patch_embed.backbone.stem.conv.weight"  # in hybrids only
SWIGLU = "w12.weight"  # in DINOv2 giant only
BEIT_TABLE = "blocks.0.attn.relative_position_bias_table"
UNUSED_TRANSFORMER = r"(norm|fc_norm|head|pre_logits)\..*|blocks\.\d+\.attn\.relative_position_index"
UNUSED_SWIN = (  # the last ones are tables of positions, which timm saves or not depending on the version
    r"(norm|head)\..*|layers\.\d+\.blocks\.\d+\.(attn_mask|attn\.relative_(position_index|coords_table))"
)


@dataclass(frozen=True)
class DepthAnythingVersion:
    """Settings of a Depth Anything that its tensors do not show."""

    last_blocks: bool = False  # whether tokens are taken after the last four blocks (v1), not at ``LAYERS`` (v2)
    max_depth: float | None = None  # largest depth in metres; networks of metric depth only


DEPTH_ANYTHING_VERSIONS = {
    "depth-anything-v1": DepthAnythingVersion(last_blocks=True),
    "depth-anything-v2": DepthAnythingVersion(),
    "depth-anything-v2-metric-indoor": DepthAnythingVersion(max_depth=20.0),
    "depth-anything-v2-metric-outdoor": DepthAnythingVersion(max_depth=80.0),
}
# Settings of a MiDaS over Swin that its tensors do not show; see ``SwinSizes``.
SWIN_VERSIONS: dict[str, dict[str, Any]] = {"midas-swin-384": {"image": 384, "window": 12}}
SWIN2_VERSIONS: dict[str, dict[str, Any]] = {
    "midas-swin2-256": {"image": 256, "window": 16},
    "midas-swin2-384": {"image": 384, "window": 24, "trained_windows": (12, 12, 12, 6)},
}
SWIN = MIDAS_3 + "layers.0.blocks.0."
SWIN2 = SWIN + "attn.logit_scale"
CLASSES_NORM = "scratch.output_conv.1.weight"  # batch norm, which only the head for classes has


def is_published(names: set[str]) -> bool:
    """Whether names are those of a whole DPT network, including the transformer."""
    decoder = any("scratch.refinenet" in name for name in names)
    return decoder and any(".blocks.0.attn." in name or name.startswith(MIDAS_3) for name in names)


def keys_of(names: set[str]) -> KeyMap:
    """The map of a whole network's names; WeightsError for an unsupported one."""
    for start, backbone in NOT_IMPORTED.items():
        if _any_starts(names, MIDAS_3 + start):
            raise WeightsError(
                f"expected a MiDaS 3 over ViT, hybrid ViT, BEiT or Swin, got one over {backbone}: not imported"
            )
    swiglu = any(name.endswith(SWIGLU) for name in names)
    if _any_starts(names, DEPTH_ANYTHING):
        own = keymaps.swiglu("pretrained") if swiglu else ()
        return keymaps.key_map("Depth Anything", own, keymaps.DEPTH_ANYTHING)
    if _any_starts(names, UNIMATCH):
        own = keymaps.swiglu("backbone") if swiglu else ()
        return keymaps.key_map("UniMatch V2", own, keymaps.UNIMATCH)
    if _any_starts(names, SWIN):
        return keymaps.key_map("MiDaS 3.1 over Swin", keymaps.MIDAS_DEPTH, keymaps.SWIN_OF_TIMM)
    if CLASSES_NORM in names:
        return keymaps.key_map("DPT of isl-org, classes", keymaps.MIDAS_CLASSES, keymaps.MIDAS)
    return keymaps.key_map("DPT or MiDaS 3 of isl-org, depth", keymaps.MIDAS_DEPTH, keymaps.MIDAS)


def recognise_state(state: Mapping[str, Tensor], version: str | None = None) -> RecognisedNetwork:
    """Recognise a whole network.

    Args:
        state: tensors by name.
        version: key of the ``..._VERSIONS`` above: required for Depth Anything and MiDaS over Swin, else None.

    Raises:
        InputError: ``version`` is missing, unknown, or does not apply to the checkpoint.
        WeightsError: a tensor that is needed to recognise the network is missing.
    """
    depth_anything = _any_starts(state, DEPTH_ANYTHING)
    swins = SWIN2_VERSIONS if SWIN2 in state else SWIN_VERSIONS if _any_starts(state, SWIN) else {}
    versions = DEPTH_ANYTHING_VERSIONS if depth_anything else swins
    if versions and version not in versions:
        got = "none" if version is None else repr(version)
        raise InputError(f"expected --as {', '.join(versions)}, got {got}: the tensors do not tell which it is")
    if not versions and version is not None:
        raise InputError(f"expected no --as {version} for this checkpoint, whose tensors tell what it is")
    keys = keys_of(set(state))
    try:
        if depth_anything:
            return _depth_anything(state, keys, DEPTH_ANYTHING_VERSIONS[str(version)])
        if swins:
            return _swin(state, keys, swins[str(version)])
        if _any_starts(state, UNIMATCH):
            return _unimatch(state, keys)
        return _midas(state, keys)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(f"expected a whole DPT network, its checkpoint lacks {error}") from error


def _depth_anything(state: Mapping[str, Tensor], keys: KeyMap, version: DepthAnythingVersion) -> RecognisedNetwork:
    vit = _vit(state, "pretrained", image=None)
    layers = tuple(range(vit.depth - 4, vit.depth)) if version.last_blocks else LAYERS.get(vit.depth, ())
    dpt = DPTConfig(
        vit=vit,
        layers=layers,
        readout="project" if "depth_head.readout_projects.0.0.weight" in state else "ignore",
        map_widths=_widths(state, "depth_head.projects.{}.weight"),
        head_width=_rows(state, "depth_head.scratch.output_conv2.0.weight"),
        depth="relative" if version.max_depth is None else "metres",
        max_depth=version.max_depth,
    )
    config = _config(_dinov2(state), dpt, state, "depth_head.", outputs="depth", num_classes=1)
    unused = (r"pretrained\.mask_token", r"depth_head\.scratch\.refinenet4\.resConfUnit1\..*")
    return RecognisedNetwork(config, keys, unused, Resize(518, 518, "cover", 14, "bicubic"))


def _unimatch(state: Mapping[str, Tensor], keys: KeyMap) -> RecognisedNetwork:
    vit = _vit(state, "backbone", image=None)
    dpt = DPTConfig(
        vit=vit,
        layers=LAYERS.get(vit.depth, ()),
        map_widths=_widths(state, "head.projects.{}.weight"),
        batch_norm="head.scratch.refinenet1.resConfUnit1.bn1.weight" in state,
    )
    classes = _rows(state, "head.scratch.output_conv.2.weight")
    config = _config(_dinov2(state), dpt, state, "head.", num_classes=classes)
    unused = (r"backbone\.mask_token", r"head\.scratch\.refinenet4\.resConfUnit1\..*")
    return RecognisedNetwork(config, keys, unused)


def _midas(state: Mapping[str, Tensor], keys: KeyMap) -> RecognisedNetwork:
    hybrid = MIDAS_3 + STEM in state
    beit = MIDAS_3 + BEIT_TABLE in state
    vit = _vit(state, "pretrained.model", image=_beit_image(state) if beit else None)
    classes = CLASSES_NORM in state
    dpt = DPTConfig(
        vit=vit,
        final_norm=False,
        positions="bilinear",
        readout="project",
        map_widths=tuple(state[f"scratch.layer{level}_rn.weight"].shape[1] for level in (1, 2, 3, 4)),
        batch_norm="scratch.refinenet1.resConfUnit1.bn1.weight" in state,
        unit_bias="scratch.refinenet1.resConfUnit1.conv1.bias" in state,
        head_norm=classes,
        head_width=32 if classes else _rows(state, "scratch.output_conv.2.weight"),
    )
    count = _rows(state, "scratch.output_conv.4.weight")
    config = _config(
        "beit_base_patch16_384" if beit else HYBRID if hybrid else "vit_base_patch16_384",
        dpt,
        state,
        num_classes=count,
        outputs="classes" if classes else "depth",
        **HALVES,
    )
    unused = (
        rf"pretrained\.model\.({UNUSED_TRANSFORMER})",
        r"auxlayer\..*",
        r"scratch\.refinenet4\.resConfUnit1\..*",
    )
    side = 480 if classes else vit.image
    return RecognisedNetwork(config, keys, unused, Resize(side, side, "least", 32, "bicubic"))


def _swin(state: Mapping[str, Tensor], keys: KeyMap, version: Mapping[str, Any]) -> RecognisedNetwork:
    stages = [f"pretrained.model.layers.{stage}.blocks" for stage in range(MAPS)]
    second = SWIN2 in state
    heads = "attn.logit_scale" if second else "attn.relative_position_bias_table"
    width = _rows(state, "pretrained.model.patch_embed.proj.weight")
    swin = SwinSizes(
        **version,
        width=width,
        depths=tuple(_blocks(state, stage) for stage in stages),
        heads=tuple(state[f"{stage}.0.{heads}"].shape[0 if second else 1] for stage in stages),
        mlp=_rows(state, f"{stages[0]}.0.mlp.fc1.weight") / width,
    )
    dpt = DPTConfig(
        swin=swin,
        map_widths=tuple(width << stage for stage in range(MAPS)),
        head_width=_rows(state, "scratch.output_conv.2.weight"),
    )
    name = "swinv2_tiny_window8_256" if second else "swin_tiny_patch4_window7_224"
    config = _config(name, dpt, state, num_classes=1, outputs="depth", **HALVES)
    unused = (rf"pretrained\.model\.({UNUSED_SWIN})", r"scratch\.refinenet4\.resConfUnit1\..*")
    return RecognisedNetwork(config, keys, unused, Resize(swin.image, swin.image, "exact", 32, "bicubic"))


def _config(
    backbone: str, dpt: DPTConfig, state: Mapping[str, Tensor], prefix: str = "", **fields: Any
) -> ModelConfig:
    width = _rows(state, f"{prefix}scratch.layer1_rn.weight")
    return ModelConfig(preset="refinenet-dpt", backbone=backbone, width=width, init="default", dpt=dpt, **fields)


def _dinov2(state: Mapping[str, Tensor]) -> str:
    """timm's name of a DINOv2 with such layers."""
    giant = any(name.endswith(SWIGLU) for name in state)
    return "vit_giant_patch14_dinov2" if giant else "vit_base_patch14_dinov2"


def _vit(state: Mapping[str, Tensor], prefix: str, image: int | None) -> ViTSizes:
    """Sizes of a transformer from its tensors under timm's names, which are also DINOv2's."""
    width, _, patch, _ = state[f"{prefix}.patch_embed.proj.weight"].shape
    mlp = f"{prefix}.blocks.0.mlp."
    inner = _rows(state, mlp + SWIGLU if mlp + SWIGLU in state else f"{mlp}fc1.weight")
    patch = 16 if f"{prefix}.{STEM}" in state else patch
    if image is None:
        image = isqrt(state[f"{prefix}.pos_embed"].shape[1] - 1) * patch
    return ViTSizes(
        image=image,
        patch=patch,
        width=width,
        depth=_blocks(state, f"{prefix}.blocks"),
        heads=max(1, width // HEAD_CHANNELS),
        mlp=inner / width,
    )


def _beit_image(state: Mapping[str, Tensor]) -> int:
    """Side of BEiT's pictures, from its table of offsets: (2 grid - 1) squared rows, and three."""
    rows = _rows(state, MIDAS_3 + BEIT_TABLE)
    patch: int = state[MIDAS_3 + "patch_embed.proj.weight"].shape[-1]
    grid = (isqrt(rows - 3) + 1) // 2
    return grid * patch


def _any_starts(names: Iterable[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)


def _rows(state: Mapping[str, Tensor], name: str) -> int:
    rows: int = state[name].shape[0]
    return rows


def _widths(state: Mapping[str, Tensor], template: str) -> tuple[int, ...]:
    return tuple(_rows(state, template.format(index)) for index in range(MAPS))


def _blocks(names: Iterable[str], prefix: str) -> int:
    """Number of blocks ``PREFIX.N.`` in the names."""
    found = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return max((int(match[1]) + 1 for name in names if (match := found.match(name))), default=0)
