"""Model folders: config.json and model.safetensors, as on the Hub. Reading is strict and never unpickles."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from refineseg._version import __version__
from refineseg.config import ModelConfig
from refineseg.errors import WeightsError
from refineseg.model.folders.card import ModelCard as ModelCard
from refineseg.model.folders.readme import model_card
from refineseg.model.presets import build, take_module
from refineseg.model.refinenet import RefineNet
from refineseg.model.tensors.checkpoints import read_safetensors
from refineseg.model.tensors.mismatch import difference, without_counters
from refineseg.system.files import atomic_folder, atomic_write, read_file, writing
from refineseg.system.text import counted

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT = 1  # raised when older readers could misread a folder


def save_model_folder(path: str | Path, model: RefineNet, card: ModelCard, half: bool = False) -> None:
    """Write a model folder as a whole, or not at all; an existing one is replaced.

    With ``half`` convolution weights are stored as float16 (statistics and biases stay float32).
    """
    state = {}
    for key, value in without_counters(model.state_dict()).items():
        value = value.detach().cpu().contiguous()
        state[key] = value.half() if half and value.ndim == 4 else value.clone()
    with atomic_folder(path) as folder:
        write_weights(folder / WEIGHTS, state)
        (folder / CONFIG).write_text(
            json.dumps(config_json(model.config, card), indent=1) + "\n", encoding="utf-8"
        )
        (folder / CARD).write_text(model_card(model, card), encoding="utf-8")


def write_weights(path: Path, state: dict[str, Tensor]) -> None:
    """Write a safetensors file; WriteError with the reason (a full disk) if that fails."""
    with writing(path, SafetensorError):
        save_file(state, path, metadata={"format": "pt"})


def load_model_folder(path: str | Path, **changes: Any) -> tuple[RefineNet, ModelCard]:
    """Read a model folder: the network in eval mode with float32 weights, and its card.

    Args:
        path: the folder.
        changes: fields of its ModelConfig to change, such as ``exact_strides=True``; the weights must still fit. A
            network on a module of your own needs ``backbone=MODULE``, as in ``create_model``.

    Raises:
        ConfigError: unknown field.
        WeightsError: a file is missing or damaged, or tensors do not fit; the message names them.
    """
    folder = Path(path)
    config, card = read_config(folder)
    module = take_module(changes)
    if changes:
        config = ModelConfig.from_dict(config.to_dict() | changes)
    file = folder / WEIGHTS
    state = read_safetensors(file)
    with torch.device("meta"):  # without memory, since a damaged config.json may have any sizes
        model = build(config, module)
    if found := difference(without_counters(model.state_dict()), state):
        raise WeightsError(f"{file} does not fit the network: {found}")
    check_finite(state, str(file))
    if all(backbone.made_from_weights for backbone in model.each_backbone()):
        assign_weights(model, state)
    else:
        model = build(config, module)
        model.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    return model.eval(), card


def store_calibration(path: str | Path, calibration: dict[str, Any]) -> None:
    """Replace the calibration of a model folder, also in its README.md; ``{}`` removes it.

    WeightsError if it is not a model folder.
    """
    folder = Path(path)
    model, card = load_model_folder(folder)
    card = replace(card, calibration=calibration)
    atomic_write(folder / CONFIG, json.dumps(config_json(model.config, card), indent=1) + "\n")
    atomic_write(folder / CARD, model_card(model, card))


def read_config(folder: Path) -> tuple[ModelConfig, ModelCard]:
    """The settings and card of a model folder, without its weights."""
    file = folder / CONFIG
    values = read_json(file, "a model folder")
    try:
        if values["format"] != FORMAT:
            got = repr(values["format"])
            raise WeightsError(f"expected format {FORMAT} in {file}, got {got:.100}: update refineseg")
        card = ModelCard.from_dict(values)
        config = ModelConfig.from_dict(values["model"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"cannot read {file}, it is damaged: {type(error).__name__} {error}") from error
    if config.num_classes != card.labels.num_classes:
        raise WeightsError(
            f"{file} is contradictory: {counted(config.num_classes, 'output')} and "
            f"{counted(card.labels.names, 'class name')}"
        )
    if config.in_channels != (3 if card.channels is None else card.channels.count):
        raise WeightsError(
            f"{file} is contradictory: {counted(config.in_channels, 'input channel')}, but other 'channels'"
        )
    return config, card


def read_json(file: Path, owner: str) -> dict[str, Any]:
    """The object in a JSON file that belongs to ``owner``, such as ``a model folder``.

    WeightsError if it is missing or damaged, or holds something else.
    """
    try:
        values = json.loads(read_file(file))
    except FileNotFoundError as error:
        raise WeightsError(f"expected {owner} with {file.name}, found no {file}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"cannot read {file}, it is damaged: {error}") from error
    if not isinstance(values, dict):
        raise WeightsError(f"expected a JSON object in {file}, got {type(values).__name__}")
    return values


def assign_weights(model: RefineNet, state: dict[str, Tensor]) -> None:
    """Give a network on the meta device these weights, which must fit, without initialising random ones first.

    Only for our own backbones and timm's transformers; others may compute buffers when built, which would be lost.
    """
    # Copies, since tensors may be views of the file, which may be changed by others.
    copies = {key: value.to(torch.float32, copy=True) for key, value in state.items()}
    model.load_state_dict(copies, strict=False, assign=True)
    model.set_normalisation()
    for part in model.modules():
        if hasattr(part, "init_non_persistent_buffers"):  # timm's method that computes them
            for name, value in part.named_buffers(recurse=False):
                setattr(part, name, torch.empty_like(value, device="cpu") if value.is_meta else value)
            part.init_non_persistent_buffers()  # type: ignore[operator]
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.num_batches_tracked = torch.zeros((), dtype=torch.int64)


def check_finite(state: dict[str, Tensor], source: str) -> None:
    """WeightsError if a value is not a finite number."""
    # With NumPy in one thread: for hundreds of small tensors torch's threads would mostly wait for each other.
    if not all(np.isfinite(value.float().numpy()).all() for value in state.values()):
        raise WeightsError(f"{source} holds values that are not finite numbers: the file is damaged")


def weights_hash(model: RefineNet) -> str:
    """SHA-256 of all tensors and their names, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def config_json(config: ModelConfig, card: ModelCard) -> dict[str, Any]:
    """The content of config.json."""
    channels = card.channels
    seen = (
        "RGB"
        if channels is None
        else f"{counted(channels.count, 'channel')} of {channels.dtype}, from low to high of 'channels'"
    )
    return {
        "format": FORMAT,
        "refineseg": __version__,
        "name": card.name,
        "model": config.to_dict(),
        "labels": card.labels.to_dict(),
        "preprocessing": {
            "input": f"{seen} in [0, 1], any size; normalised inside the network",
            **({} if card.resize is None else {"resize": card.resize.to_dict()}),
        },
        "scores": list(card.scores),
        "provenance": card.provenance,
        "licence": card.licence,
        "calibration": card.calibration,
        **({} if channels is None else {"channels": channels.to_dict()}),
    }
