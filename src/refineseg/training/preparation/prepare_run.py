"""Preparation of a run: everything that can fail because of settings or data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

import torch

from refineseg.config import TrainConfig
from refineseg.config.yaml import to_yaml
from refineseg.data.batches.loader import TrainingPictures
from refineseg.data.dataset import SegmentationData
from refineseg.data.splits.held_out import with_validation
from refineseg.errors import ConfigError
from refineseg.inference.devices import precision_note
from refineseg.model.folders.find_model import find_model
from refineseg.model.folders.hub import pinned
from refineseg.model.folders.model_folder import read_config
from refineseg.model.presets import PRESETS
from refineseg.system.files import atomic_write, writable_folder
from refineseg.system.lock import check_unused
from refineseg.system.memory import keep_freed_memory
from refineseg.system.text import counted
from refineseg.training.custom import Callback, Custom, TrainingEvent
from refineseg.training.distillation import prepare_teacher, unlabelled_pictures
from refineseg.training.losses import find_loss
from refineseg.training.memory import check_memory
from refineseg.training.parallel import make_fabric, use_float32_depthwise
from refineseg.training.preparation.initial_network import InitialNetwork, check_model, starting_network
from refineseg.training.run import SETTINGS, Run
from refineseg.training.tracking.loggers import RunLogger
from refineseg.training.tracking.run_page import RunPage

TRAINED_ON_VAL = "val is or was used for training: scores on it say nothing about other pictures, so none is kept"


def prepare_run(
    config: TrainConfig,
    data: SegmentationData,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    **custom: Unpack[Custom],
) -> Run:
    """A run before its first step. Arguments and errors as in ``refineseg.train``."""
    folder = Path(folder)
    check_unused(folder, resume)
    check_model(config.model)
    data = with_validation(data)
    pictures = tuple(sample for name in config.train_splits for sample in data.split(name))
    data = replace(data, splits={**data.splits, "train": pictures})
    trained_on = trained_splits(config, data)
    keep_freed_memory()
    fabric = make_fabric(config, device)
    torch.manual_seed(config.seed)
    config = replace(config, model=pinned(config.model), teacher=config.teacher and pinned(config.teacher))
    check_shares(config, fabric.world_size)
    data = with_channels_of_model(config, data)
    if "loss" not in custom:
        find_loss(config.loss)
    start = starting_network(config, data)
    taught = prepare_teacher(config, data, custom.get("teacher"), fabric.device)
    unlabelled, left_out = unlabelled_pictures(config, data)
    use_float32_depthwise(start.model)
    short_memory = check_memory(start.model, config, fabric.device, fabric.world_size)
    callbacks: list[Callback] = []
    if fabric.is_global_zero:
        callbacks = [RunPage(), *map(RunLogger, config.loggers), *custom.get("callbacks", ())]

    def report(event: TrainingEvent) -> None:
        for callback in callbacks:
            callback(event)

    if short_memory:
        report(TrainingEvent("warning", note=short_memory))
    for phase, text in start_messages(config, start, fabric.device, trained_on, left_out):
        report(TrainingEvent(phase, note=text))
    reader = TrainingPictures(data, "train", config.augment, config.seed, unlabelled, custom.get("augment"))
    reader.prepare(config.cache_mb, lambda done, of: report(TrainingEvent("reading", done, of)))
    writable_folder(folder)
    if fabric.is_global_zero and not (folder / SETTINGS).exists():
        atomic_write(folder / SETTINGS, to_yaml(config.to_dict()))
    run = Run(config, data, folder, fabric, start.model, reader, report, custom, trained_on)
    return replace(run, started=start.provenance, teacher=taught)


def check_shares(config: TrainConfig, processes: int) -> None:
    """ConfigError unless the processes can share a batch, with enough pixels for batch norm."""
    if config.labelled_in_batch % processes:
        raise ConfigError(
            f"expected labelled pictures in a batch that {processes} processes can share, got "
            f"{config.labelled_in_batch}: change batch_size or unlabelled_share"
        )
    share = config.batch_size // processes
    if not config.augment.pad and share != 1:
        raise ConfigError(f"augment.pad=false needs batches of 1, since its crops differ in size; got {share}")
    if share % config.accumulate:
        raise ConfigError(
            f"expected accumulate to divide {counted(share, 'picture')} a process, got {config.accumulate}"
        )
    if share < 2 and max(config.augment.crop) <= 32 and not config.freeze_batch_norm:
        raise ConfigError(
            f"expected more than one pixel at stride 32 for batch norm, got {share} picture a process of crop "
            f"{config.augment.crop}: raise the crop or the batch size, or set freeze_batch_norm"
        )


def start_messages(
    config: TrainConfig, start: InitialNetwork, device: torch.device, trained_on: tuple[str, ...], left_out: int
) -> list[tuple[str, str]]:
    """Messages before the first step, as phase and text."""
    own = f"not used as unlabelled: {counted(left_out, 'picture')} of the data set in {config.unlabelled}"
    emulated = precision_note(device, config.precision)
    said = (
        ("start", start.line, True),
        ("warning", start.warning, bool(start.warning)),
        ("note", emulated, bool(emulated)),
        ("note", TRAINED_ON_VAL, "val" in trained_on),
        ("note", own, left_out > 0),
    )
    return [(phase, text) for phase, text, due in said if due]


def trained_splits(config: TrainConfig, data: SegmentationData) -> tuple[str, ...]:
    """The splits seen in this run, or before by the initial model or the teacher."""
    names = [name for name in (config.model, config.teacher) if name is not None and name not in PRESETS]
    cards = [read_config(find_model(name))[1] for name in names]
    kept = tuple(name for name in data.splits if any(card.was_trained_on(data.name, name) for card in cards))
    return tuple(dict.fromkeys((*config.train_splits, *kept)))


def with_channels_of_model(config: TrainConfig, data: SegmentationData) -> SegmentationData:
    """The data with the channels of the initial model, which keep raw values comparable."""
    if config.model in PRESETS:
        return data
    channels = read_config(find_model(config.model))[1].channels
    formats = [None if item is None else (item.count, item.dtype) for item in (channels, data.channels)]
    if formats[0] != formats[1]:
        model, here = (
            "RGB" if found is None else f"{counted(found[0], 'channel')} of {found[1]}" for found in formats
        )
        raise ConfigError(f"{config.model} was trained on {model}, the data has {here}: start from a preset")
    return replace(data, channels=channels)
