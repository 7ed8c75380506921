"""Settings as frozen dataclasses: to and from dict and YAML, validated, and without importing torch."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from refineseg.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_YAML = 200_000  # values in one file
LARGEST_WIDTH = 8192  # beyond it a damaged file asks for terabytes


class Config:
    """Base of the settings classes: conversion and checked overrides."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from nested plain values. Raises ConfigError for unknown names and wrong types."""
        return _build(cls, values, "")

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for YAML and JSON."""
        return typing.cast(dict[str, Any], _plain(dataclasses.asdict(self)))  # type: ignore[call-overload]

    def override(self, assignments: Sequence[str]) -> Self:
        """A copy with ``name.name=value`` assignments applied; values are read as YAML."""
        values = self.to_dict()
        for assignment in assignments:
            name, found, text = assignment.partition("=")
            if not found:
                raise ConfigError(f"expected --set NAME=VALUE, got {assignment!r:.200}")
            *parents, leaf = name.strip().split(".")
            node = values
            for parent in parents:
                child = node.get(parent)
                if not isinstance(child, dict):
                    raise ConfigError(_unknown(name, parent, node))
                node = child
            if leaf not in node:
                raise ConfigError(_unknown(name, leaf, node))
            node[leaf] = _parse(text)
        return type(self).from_dict(values)


C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class ModelConfig(Config):
    """A member of the RefineNet family, as data. Presets fill it; every field may be changed.

    The defaults are the released networks of Lin et al. (CVPR 2017).

    Attributes:
        preset: the name it came from, for the record.
        backbone: ``mobilenetv2_100``, ``mobilenetv2_released`` or any timm model with feature maps.
        num_classes: width of the classifier.
        in_channels: bands of the image.
        cascade: ``four`` (one block per stride), ``two`` or ``single`` (one block takes all maps).
        input_scales: one backbone per scale sees the image at it; (1.2, 0.6) is the paper's 2-scale network.
        kernel_size: 3, or 1 for light-weight.
        rcus: residual conv units per backbone map.
        output_rcus: at the end of every block.
        final_rcus: additional ones before the classifier.
        crp_stages: stages of chained residual pooling.
        pooling: order of pooling and convolution in them.
        width: channels of the paths at strides 4, 8 and 16.
        coarse_width: channels of the stride-32 path.
        lateral_fusion: whether backbone maps pass a fusion convolution.
        activation: ``relu`` or ``relu6``, of the pooling chain.
        dropout: on backbone maps of more than 512 channels and before the classifier.
        align_corners: of the upsampling inside the decoder; the published ports use true.
        exact_strides: upsample maps inside the decoder by the exact ratio of their strides, not to the size of the
            finer map, so that windows of a picture agree with the whole also where 32 does not divide its sides.
            Wants ``align_corners`` false and a single input scale. It must be as it was in training, unless 32
            divided the training crops: then both are the same network.
        init: ``paper`` draws new convolutions from N(0, 0.01); ``default`` keeps torch's initialisation.
        mean, std: normalisation of RGB in [0, 1], kept inside the network.
    """

    preset: str = "custom"
    backbone: str = "resnet101"
    num_classes: int = 21
    in_channels: int = 3
    cascade: Literal["single", "two", "four"] = "four"
    input_scales: tuple[float, ...] = (1.0,)
    kernel_size: int = 3
    rcus: int = 2
    output_rcus: int = 3
    final_rcus: int = 0
    crp_stages: int = 4
    pooling: Literal["original", "improved"] = "original"
    width: int = 256
    coarse_width: int = 512
    lateral_fusion: bool = True
    activation: Literal["relu", "relu6"] = "relu"
    dropout: float = 0.5
    align_corners: bool = True
    exact_strides: bool = False
    init: Literal["paper", "default"] = "paper"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        _require(1 <= self.num_classes <= 255, "num_classes between 1 and 255", self.num_classes)
        _require(self.kernel_size in (1, 3), "kernel_size 1 or 3", self.kernel_size)
        _require(len(self.input_scales) > 0, "at least one input scale", self.input_scales)
        _require(all(0 < s <= 8 for s in self.input_scales), "input_scales above 0, up to 8", self.input_scales)
        _require(len(self.input_scales) <= 8, "at most 8 input scales", len(self.input_scales))
        local = not set(":/\\") & set(self.backbone)  # timm fetches what is written hf-hub:ORG/NAME
        _require(local, "the plain name of a timm model as backbone", repr(self.backbone))
        free = not self.align_corners and len(self.input_scales) == 1
        _require(
            free or not self.exact_strides,
            "align_corners false and one input scale with exact_strides",
            (self.align_corners, self.input_scales),
        )
        _require(0 <= self.dropout < 1, "dropout in [0, 1)", self.dropout)
        widths = (self.width, self.coarse_width)
        _require(0 < min(widths) <= max(widths) <= LARGEST_WIDTH, f"widths of 1 to {LARGEST_WIDTH}", widths)
        counts = (self.rcus, self.output_rcus, self.final_rcus, self.crp_stages)
        _require(0 <= min(counts) <= max(counts) <= 64, "numbers of units and stages of 0 to 64", counts)
        _require(1 <= self.in_channels <= 4096, "in_channels of 1 to 4096", self.in_channels)
        _require(
            len(self.mean) == len(self.std) == self.in_channels,
            f"one mean and std for each of the {self.in_channels} channels",
            (self.mean, self.std),
        )
        _require(all(0 < s < math.inf for s in self.std), "std above 0", self.std)
        _require(all(map(math.isfinite, self.mean)), "finite means", self.mean)


@dataclass(frozen=True)
class AugmentConfig(Config):
    """Joint transforms of image and mask while training.

    Attributes:
        crop: height and width of the training crop, in pixels after scaling; one number makes a square.
        scale: range of the random scale (the paper: 0.7 to 1.3).
        scale_step: the scales are drawn from a grid of this step, as in the paper (0.1); 0 draws any value.
        flip: probability of a horizontal flip.
        rare_crop: probability that the crop is centred on a pixel of a class drawn from the picture's classes.
        brightness, contrast, saturation, hue: strength of the photometric jitter, as in torchvision.
        blur: probability of a Gaussian blur.
    """

    crop: tuple[int, int] = (360, 480)
    scale: tuple[float, float] = (0.5, 2.0)
    scale_step: float = 0.0
    flip: float = 0.5
    rare_crop: float = 0.5
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.03
    blur: float = 0.1

    def __post_init__(self) -> None:
        _require(min(self.crop) >= 1, "a crop of at least 1 pixel", self.crop)
        _require(max(self.crop) <= 16_384, "a crop of at most 16,384 pixels a side", self.crop)
        _require(
            0 < self.scale[0] <= self.scale[1] <= 16, "a scale range above 0, up to 16, low then high", self.scale
        )
        for name in ("scale_step", "brightness", "contrast", "saturation"):
            _require(0 <= getattr(self, name) < math.inf, f"{name} of 0 or more", getattr(self, name))
        for name in ("flip", "rare_crop", "blur"):
            _require(0 <= getattr(self, name) <= 1, f"{name} in [0, 1]", getattr(self, name))
        _require(0 <= self.hue <= 0.5, "hue in [0, 0.5]", self.hue)


@dataclass(frozen=True)
class TrainConfig(Config):
    """A training recipe. The defaults are the modern one; ``paper_recipe`` is that of the CVPR paper.

    Attributes:
        model: preset name, or a model folder to start from.
        fields: changes to the preset's ModelConfig.
        backbone_weights: safetensors file with ImageNet weights.
        augment: joint transforms.
        epochs: passes over the training set; ignored if ``steps`` is given.
        steps: optimiser steps in all.
        batch_size: pictures per step over all processes.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
        lr: learning rate of the decoder.
        backbone_lr: multiplier for the backbone.
        weight_decay: on convolution weights; biases and norms have none.
        schedule: ``cosine``, ``poly`` (power 0.9), ``step`` (a tenth after ``drop_at``) or ``constant``.
        warmup: share of the steps with a linearly rising rate.
        drop_at: share of the steps after which ``step`` drops the rate.
        freeze_batch_norm: keep batch norm's statistics and weights as loaded.
        sync_batch_norm: with several processes, take batch norm's statistics over the whole batch (GPUs only)
            instead of over each process's share of it.
        strategy: of several processes: ``ddp`` keeps the whole network in each, ``fsdp`` shards it.
        loss: ``cross_entropy`` or ``ohem`` (hardest pixels only).
        loss_resolution: ``full`` (labels as they are) or ``paper`` (labels at stride 4 by nearest neighbour).
        label_smoothing: in [0, 1).
        class_weights: power of the inverse class frequency in the loss; 0 weighs all pixels the same.
        balanced_sampling: pictures drawn by class, as in the paper, instead of each once per epoch.
        ema: decay of the moving average of the weights; 0 keeps none.
        clip_norm: largest gradient norm; 0 does not clip.
        precision: ``32`` or ``bf16``.
        seed: of everything random.
        workers: data loading processes.
        cache_mb: decoded pictures kept in memory, at most.
        validate_every: epochs between validations; the last is always validated.
        metric: that the best checkpoint is chosen by.
    """

    model: str = "refinenet-lw-mbv2"
    fields: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    epochs: int = 100
    steps: int | None = None
    batch_size: int = 8
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    backbone_lr: float = 0.25
    weight_decay: float = 1e-2
    schedule: Literal["cosine", "poly", "step", "constant"] = "cosine"
    warmup: float = 0.03
    drop_at: float = 0.67
    freeze_batch_norm: bool = False
    sync_batch_norm: bool = False
    strategy: Literal["ddp", "fsdp"] = "ddp"
    loss: Literal["cross_entropy", "ohem"] = "cross_entropy"
    loss_resolution: Literal["full", "paper"] = "full"
    label_smoothing: float = 0.0
    class_weights: float = 0.0
    balanced_sampling: bool = False
    ema: float = 0.999
    clip_norm: float = 5.0
    precision: Literal["32", "bf16"] = "32"
    seed: int = 0
    workers: int = 1
    cache_mb: int = 2048
    validate_every: int = 5
    metric: Literal["mean_iou", "pixel_accuracy", "mean_class_accuracy"] = "mean_iou"

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs of 1 or more", self.epochs)
        _require(self.steps is None or self.steps >= 1, "steps of 1 or more", self.steps)
        _require(1 <= self.batch_size <= 100_000, "a batch size of 1 or more, up to 100,000", self.batch_size)
        _require(0 < self.lr < math.inf, "a learning rate above 0", self.lr)
        for name in ("backbone_lr", "weight_decay", "class_weights", "clip_norm"):
            _require(0 <= getattr(self, name) < math.inf, f"{name} of 0 or more", getattr(self, name))
        for name in ("warmup", "drop_at"):
            _require(0 <= getattr(self, name) <= 1, f"{name} in [0, 1]", getattr(self, name))
        _require(0 <= self.seed < 2**32, "a seed of 0 to 4294967295", self.seed)
        _require(max(self.epochs, self.steps or 1) <= 10**9, "at most 10^9 steps", (self.epochs, self.steps))
        _require(self.cache_mb >= 0, "cache_mb of 0 or more", self.cache_mb)
        choices = (self.freeze_batch_norm, self.sync_batch_norm)
        _require(not all(choices), "freeze_batch_norm or sync_batch_norm, not both", choices)
        _require(0 <= self.label_smoothing < 1, "label_smoothing in [0, 1)", self.label_smoothing)
        _require(0 <= self.ema < 1, "ema in [0, 1)", self.ema)
        _require(self.workers >= 0, "workers of 0 or more", self.workers)
        _require(self.validate_every >= 1, "validate_every of 1 or more", self.validate_every)


def paper_recipe() -> TrainConfig:
    """The authors' recipe: batch 1, SGD at 5e-4 then 5e-5, frozen batch norm, loss at stride 4, crop 400."""
    return TrainConfig(
        augment=AugmentConfig(
            crop=(400, 400),
            scale=(0.7, 1.3),
            scale_step=0.1,
            brightness=0.0,
            contrast=0.0,
            saturation=0.0,
            hue=0.0,
            blur=0.0,
        ),
        batch_size=1,
        optimizer="sgd",
        lr=5e-4,
        backbone_lr=0.1,
        weight_decay=5e-4,
        schedule="step",
        warmup=0.0,
        freeze_batch_norm=True,
        loss_resolution="paper",
        balanced_sampling=True,
        ema=0.0,
        clip_norm=0.0,
    )


RECIPES = {"modern": TrainConfig, "paper": paper_recipe}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping; anything else is a ConfigError that names the file."""
    path = Path(path)
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"expected a YAML file, found none at {path}") from error
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"expected a YAML file, cannot read {path}: {reason}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"expected names and values in {path}, got {type(values).__name__}")
    return values


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: plain types only, of bounded size.

    Raises ConfigError for anything else, references that repeat each other beyond LARGEST_YAML values or without
    end included.
    """
    import yaml  # here, so that prediction with exported files does without

    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: an impossible date or number
        raise ConfigError(f"it is no YAML: {' '.join(str(error).split()):.300}") from error
    except RecursionError as error:
        raise ConfigError("it is nested too deeply") from error
    left = LARGEST_YAML
    stack = [value]
    while stack:
        item, left = stack.pop(), left - 1
        if left < 0:
            raise ConfigError(f"its references make more than {LARGEST_YAML:,} values")
        stack += list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else ()
    return value


def to_yaml(values: Mapping[str, Any]) -> str:
    """YAML text with the order of the fields kept."""
    import yaml

    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=100)


def scaled(length: int, scale: float) -> int:
    """What a network of an input scale makes of a height or width: ``max(1, round(length * scale))``.

    In whole numbers alone, which exports with open sizes can carry; halves go to the even number.
    """
    ratio = Fraction(scale).limit_denominator(1000)
    twice, over = 2 * ratio.numerator * length + ratio.denominator, 2 * ratio.denominator
    rounded = twice // over
    tie = rounded - (twice - 1) // over  # 1 where the half is exact
    return max(1, rounded - tie * (rounded % 2))


def _require(condition: bool, expected: str, got: object) -> None:
    if not condition:
        raise ConfigError(f"expected {expected}, got {got!s:.200}")


def _parse(text: str) -> Any:
    try:
        value = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"cannot read the value {text!r:.80}: {error}") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _unknown(name: str, part: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(part, list(known), n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
    return f"unknown setting {' '.join(name.split()):.80}{hint}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _build(cls: type[C], values: Mapping[str, Any], prefix: str) -> C:
    hints = typing.get_type_hints(cls)
    fields = {item.name for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise ConfigError(_unknown(prefix + str(name), str(name), dict.fromkeys(sorted(fields))))
    return cls(**{name: _convert(hints[name], value, prefix + name) for name, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` as the type of the field, or a ConfigError. Knows the few kinds of type used above."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert(next(item for item in arguments if item is not type(None)), value, name)
    if isinstance(hint, type) and issubclass(hint, Config):
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected settings under {name}, got {value!r:.200}")
        return _build(hint, value, f"{name}.")
    if origin is Literal:
        chosen = str(value) if isinstance(arguments[0], str) and not isinstance(value, bool) else value
        if chosen not in arguments:
            raise ConfigError(f"expected {name} to be one of {', '.join(map(str, arguments))}, got {value!r:.200}")
        return chosen
    if origin is tuple:
        return _convert_tuple(arguments, value, name)
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected {name} to be names and values, got {value!r:.200}")
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"expected {name} to be {hint.__name__}, got {value!r:.200}")
    return value


def _convert_tuple(arguments: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    variable = len(arguments) == 2 and arguments[1] is Ellipsis
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = [value] if variable else [value] * len(arguments)
    if not isinstance(value, list | tuple) or not (variable or len(value) == len(arguments)):
        raise ConfigError(f"expected {name} to be a list, got {value!r:.200}")
    kinds = [arguments[0]] * len(value) if variable else list(arguments)
    return tuple(_convert(kind, item, name) for kind, item in zip(kinds, value, strict=True))
