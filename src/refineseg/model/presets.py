"""Presets of the family, and the functions that build a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from refineseg.config import ModelConfig
from refineseg.errors import ConfigError, WeightsError
from refineseg.model.backbones.backbone import CUSTOM, RELEASED_MOBILENET, Backbone, ModuleBackbone
from refineseg.model.backbones.resnet import BOTTLENECKS_FROM, DEPTHS
from refineseg.model.backbones.weights import load_backbone_weights
from refineseg.model.folders.pretrained import HALF, BackboneWeights, find_backbone_weights
from refineseg.model.multi_task import MultiTaskRefineNet
from refineseg.model.refinenet import RefineNet

WITH_BOTTLENECKS = tuple(f"resnet{depth}" for depth in DEPTHS if depth >= BOTTLENECKS_FROM)

# Light-Weight RefineNet: 1x1 convolutions, no RCUs, no dropout before the classifier (Nekrasov et al., BMVC 2018).
# Its initialisation is torch's, but the coarser path starts as the identity, which helps short training a lot
# (docs/notebook/experiments.md).
LIGHT_WEIGHT: dict[str, Any] = {
    "kernel_size": 1,
    "rcus": 0,
    "output_rcus": 0,
    "classifier_dropout": 0.0,
    "init": "identity",
}
# On MobileNet-v2: all paths 256 wide, two maps at strides 16 and 32, fusion convolution only on the coarser
# block's output, ReLU6, no dropout.
LIGHT_MOBILENET = LIGHT_WEIGHT | {
    "coarse_width": 256,
    "lateral_fusion": False,
    "activation": "relu6",
    "backbone_dropout": 0.0,
}

# DPT: a plain vision transformer of timm under reduced RefineNet blocks (Ranftl et al., ICCV 2021), with the
# half-pixel centres that tiles need and the width of UniMatch V2.
PLAIN_VIT: dict[str, Any] = {"dpt": {}, "width": 128, "align_corners": False, "init": "default"}

# The three published forms of the full network: changes of the defaults, which are the ports'.
SETTINGS: dict[str, dict[str, Any]] = {
    "ports": {},
    "paper": {"crp_stages": 2, "output_rcus": 1, "refined_rcus": 2, "final_rcus": 2},
    "authors": {
        "input_scales": (1.2,),
        "upsampling": "bicubic",
        "align_corners": False,
        "stride_in_1x1": True,
        "mean": (128 / 255,) * 3,
        "std": (1 / 255,) * 3,
    },
}
SETTINGS_ALIASES = {"released": "ports"}  # the name up to 0.1

PRESETS: dict[str, dict[str, Any]] = {
    **{f"refinenet-r{depth}": {"backbone": f"resnet{depth}"} for depth in DEPTHS},
    **{f"refinenet-lw-r{depth}": {"backbone": f"resnet{depth}"} | LIGHT_WEIGHT for depth in DEPTHS},
    "refinenet-lw-mbv2": {"backbone": "mobilenetv2_100"} | LIGHT_MOBILENET,
    "refinenet-lw-mbv2-released": {"backbone": RELEASED_MOBILENET} | LIGHT_MOBILENET,
    # EfficientNet-lite has ReLU6 and no squeeze-excite, as MobileNet-v2, and is better on ImageNet.
    **{
        f"refinenet-lw-lite{size}": {"backbone": f"tf_efficientnet_lite{size}", "mean": HALF, "std": HALF}
        | LIGHT_MOBILENET
        for size in (0, 2)
    },
    "refinenet-dpt": {"backbone": "vit_small_patch14_dinov2"} | PLAIN_VIT,
}


def model_config(preset: str, num_classes: int, settings: str | None = None, **fields: Any) -> ModelConfig:
    """The configuration of a preset with fields changed.

    Args:
        preset: one of ``PRESETS``.
        num_classes: width of the classifier.
        settings: ``ports`` (the default; formerly ``released``), ``paper`` or ``authors``.
        fields: any field of ModelConfig.

    Raises:
        ConfigError: unknown preset, settings or field, or a value out of range.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}: expected one of {', '.join(PRESETS)}")
    values: dict[str, Any] = {"preset": preset, "num_classes": num_classes} | PRESETS[preset]
    if settings is not None:
        values |= _settings_fields(settings, preset, str(fields.get("backbone", values.get("backbone"))))
    return ModelConfig.from_dict(values | fields)


def _settings_fields(settings: str, preset: str, backbone: str) -> dict[str, Any]:
    name = SETTINGS_ALIASES.get(settings, settings)
    if name not in SETTINGS:
        raise ConfigError(f"unknown settings {settings!r}: expected one of {', '.join(SETTINGS)}")
    if "dpt" in PRESETS[preset]:
        raise ConfigError(f"expected no settings with {preset}, got {settings!r}: it has one form only")
    if PRESETS[preset].get("kernel_size") == 1:
        if name == "authors":
            raise ConfigError(f"expected a full network with settings 'authors', got {preset}: it is not theirs")
        return {}  # without residual conv units there is only one form
    chosen = dict(SETTINGS[name])
    if backbone not in WITH_BOTTLENECKS:
        chosen.pop("stride_in_1x1", None)
    return chosen


def create_model(
    preset: str,
    num_classes: int,
    backbone_weights: str | Path | None = None,
    *,
    settings: str | None = None,
    **fields: Any,
) -> RefineNet:
    """Build a network.

    Args:
        preset: ``refinenet-r18|r34|r50|r101|r152``, ``refinenet-lw-r18|...|r152|mbv2|lite0|lite2``,
            ``refinenet-lw-mbv2-released``, or ``refinenet-dpt`` with any plain vision transformer as ``backbone``.
        num_classes: number of classes, 1 to 255.
        backbone_weights: None for random weights; ``imagenet`` for those of the package or, through the Hub's
            cache, timm's; ``auto`` for the same, but random if there are none; a bundled model or model folder for
            its backbone; or a safetensors file under timm's key names. The network takes over the weights'
            normalisation if known, unless ``mean`` or ``std`` is given.
        settings: published form of a full network: ``ports`` (default), the PyTorch ports' code; ``paper``, the
            paper's text; ``authors``, the authors' MATLAB code. See docs/reproduction.md.
        fields: any field of ModelConfig, such as ``cascade="two"`` or ``backbone="convnext_atto"``. ``backbone``
            may also be a module that returns maps from fine to coarse, with ``channels`` and ``strides`` of the
            maps as further fields or as its attributes; see docs/block.md.

    Returns:
        The module: RGB in [0, 1], BxCxHxW, to logits BxKxHxW.

    Raises:
        ConfigError: unknown preset or field, or a value out of range.
        WeightsError: the backbone weights do not fit.
    """
    module = take_module(fields)
    model = build(model_config(preset, num_classes, settings, **fields), module)
    weights = find_backbone_weights(backbone_weights, model.config.backbone)
    if weights is not None:
        fill_backbones(model, weights, normalise={"mean", "std"} & fields.keys() == set())
    return model


def fill_backbones(model: RefineNet, weights: BackboneWeights, normalise: bool = True) -> None:
    """Load weights into every backbone of a network; with ``normalise`` also take over their normalisation.

    A network of other channels than RGB keeps its normalisation.

    Raises WeightsError if they do not fit, or are of a ResNet with its stride elsewhere, of the same shapes.
    """
    if weights.stride_in_1x1 not in (None, model.config.stride_in_1x1):
        own, theirs = (str(value).lower() for value in (model.config.stride_in_1x1, weights.stride_in_1x1))
        raise WeightsError(
            f"expected weights trained with stride_in_1x1 {own}, got {weights.source}, trained with {theirs}: "
            "set stride_in_1x1 to that, or give a file of other weights"
        )
    for backbone in model.each_backbone():
        load_backbone_weights(backbone, weights.file)
    if normalise and model.config.in_channels == 3 and weights.mean is not None and weights.std is not None:
        model.config = replace(model.config, mean=weights.mean, std=weights.std)
        model.set_normalisation()


def take_module(fields: dict[str, Any]) -> ModuleBackbone | None:
    """Remove ``channels``, ``strides`` and a module as ``backbone`` from the fields, and return it as a backbone.

    ``backbone`` then is the name ``custom``. None if ``backbone`` is a name or not given.
    """
    module = fields.get("backbone")
    shapes = {name: fields.pop(name, None) for name in ("channels", "strides")}
    if isinstance(module, nn.Module):
        fields["backbone"] = CUSTOM
        return ModuleBackbone(module, shapes["channels"], shapes["strides"], fields.get("in_channels", 3))
    given = [name for name, values in shapes.items() if values is not None]
    if given:
        raise ConfigError(f"expected a module as backbone with {' and '.join(given)}, got {module!r}")
    return None


def build(config: ModelConfig, backbone: Backbone | None = None) -> RefineNet:
    """The network of a configuration, with random weights; on ``backbone`` if given."""
    if config.dpt is not None:
        if backbone is not None:
            raise ConfigError(
                f"expected the name of a vision transformer with a DPT, got {type(backbone).__name__}"
            )
        from refineseg.model.dpt.network import DPT

        return DPT(config)
    kind = MultiTaskRefineNet if config.further_outputs else RefineNet
    return kind(config, backbone)


def parameter_count(network: nn.Module | ModelConfig) -> int:
    """Number of trainable values of a module, or of a configuration's network, which is not allocated for it."""
    if isinstance(network, ModelConfig):
        with torch.device("meta"):
            network = build(network)
    return sum(value.numel() for value in network.parameters())
