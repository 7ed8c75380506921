"""The initial network of a run: with ImageNet weights, from a segmentation model, or random."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refineseg.config import TrainConfig
from refineseg.data.dataset import SegmentationData
from refineseg.errors import ConfigError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.classifier import change_classes, same_classes
from refineseg.model.folders.find_model import bundled_models, find_model
from refineseg.model.folders.hub import is_hub_name
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.folders.pretrained import find_backbone_weights
from refineseg.model.presets import PRESETS, build, fill_backbones, model_config
from refineseg.model.refinenet import RefineNet
from refineseg.system.files import expanded
from refineseg.system.text import counted

FROM_NOTHING = (
    "training starts from random weights, for which a few hundred pictures are too few: "
    "use --backbone-weights imagenet, or start from a model such as --model camvid"
)


@dataclass(frozen=True)
class InitialNetwork:
    """The initial network."""

    model: RefineNet  # the network, with the classes of the data
    line: str  # its origin, for the terminal
    provenance: dict[str, str] = field(default_factory=dict)  # its origin, for the model card
    warning: str = ""  # for the terminal; empty if there is none


def starting_network(config: TrainConfig, data: SegmentationData) -> InitialNetwork:
    """A preset with random or ImageNet weights, or a model with the data's classes.

    ConfigError for an unknown model or unsuitable settings or classes; WeightsError for missing or unusable
    weights.
    """
    preset = config.model in PRESETS
    if preset and config.class_map:
        raise ConfigError(
            f"--map names classes of a trained model, but {config.model} is a preset: "
            "start from a model, such as --model everyday"
        )
    stated: dict[str, str] = {}
    if preset:
        classes, fields = data.label_map.num_classes, _fields_of_channels(config, data)
        model, line = build(model_config(config.model, classes, **fields)), config.model
    else:
        model, line, stated = _of_model(config, data)
    own = not preset and config.backbone_weights == "auto"  # the model's
    weights = None if own else find_backbone_weights(config.backbone_weights, model.config.backbone)
    if weights is not None:
        fill_backbones(model, weights, normalise={"mean", "std"} & config.fields.keys() == set())
        stated |= {"backbone weights": weights.source, "backbone weights' licence": weights.licence}
        stated |= {"backbone weights' SHA-256": weights.sha256}
        line += f", backbone from {weights.describe()}"
    elif preset:
        stated = {"backbone weights": "random"}
        return InitialNetwork(model, f"{line}, random weights", stated, FROM_NOTHING)
    return InitialNetwork(model, f"{line}, decoder new" if preset else line, stated)


def check_model(name: str) -> None:
    """ConfigError or WeightsError unless it is a preset, or a model that can be found."""
    if name not in PRESETS:
        model_to_start_from(name)


def model_to_start_from(name: str) -> Path:
    """The folder of a model that is not a preset; ConfigError for unknown names."""
    try:
        return find_model(name)
    except WeightsError as error:
        if is_hub_name(name) or name in bundled_models() or expanded(name).is_dir():
            raise
        raise ConfigError(
            f"unknown model {name!r}: expected a preset ({', '.join(PRESETS)}), a bundled model "
            f"({', '.join(bundled_models())}), a model folder or hf:ORG/NAME"
        ) from error


def _fields_of_channels(config: TrainConfig, data: SegmentationData) -> dict[str, Any]:
    """The settings of the network, with those for the channels of the data."""
    channels = data.channels
    fields: dict[str, Any] = dict(config.fields)
    if channels is not None:
        fields = {"in_channels": channels.count, "mean": channels.mean, "std": channels.std} | fields
    count = 3 if channels is None else channels.count
    if fields.get("in_channels", 3) != count:
        raise ConfigError(f"expected in_channels of {count}, as in the data, got {config.fields}")
    return fields


def _of_model(config: TrainConfig, data: SegmentationData) -> tuple[RefineNet, str, dict[str, str]]:
    """A model with the data's classes, with its origin for the terminal and the model card."""
    if "settings" in config.fields:
        raise ConfigError(
            f"expected a preset with model.settings, got the model {config.model}, which has its form"
        )
    model, card = load_model_folder(model_to_start_from(config.model), **config.fields)
    if card.labels.names == data.label_map.names and not config.class_map:
        return model, f"{config.model}, all of it", {"started from": config.model}
    line = _change_classes(model, card.labels, data.label_map, config)
    return model, line, {"started from": config.model, "classes carried over": line.partition(": ")[2]}


def _change_classes(model: RefineNet, old: LabelMap, new: LabelMap, config: TrainConfig) -> str:
    """Replace the model's classes with those of the data; returns a line on which were kept."""
    rows = same_classes(new.names, old.names, config.class_map)
    change_classes(model, new.num_classes, rows, config.seed)
    carried = [
        new.names[to] if new.names[to] == old.names[source] else f"{new.names[to]} (from {old.names[source]})"
        for to, source in rows.items()
    ]
    drawn = [name for index, name in enumerate(new.names) if index not in rows]
    parts = [f"{len(carried)} of {counted(new.classes, 'class')} carried over"]
    parts += [", ".join(carried)] if carried else []
    line = f"{config.model}, backbone and decoder; " + ": ".join(parts)
    return line + (f"; initialised at random: {', '.join(drawn)}" if drawn else "")
