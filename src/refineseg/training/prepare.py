"""Before the first step: everything of a training run that can fail for a reason that the user can mend."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from refineseg.config import TrainConfig
from refineseg.config.yaml import to_yaml
from refineseg.data.loader import TrainingPictures
from refineseg.data.source import SegmentationData
from refineseg.errors import ConfigError, InputError
from refineseg.model.backbone import load_backbone_weights
from refineseg.model.find_model import find_model
from refineseg.model.hub import pinned
from refineseg.model.model_folder import load_model_folder, read_config
from refineseg.model.presets import PRESETS, create_model
from refineseg.model.refinenet import RefineNet
from refineseg.system.files import atomic_write, leftovers, writable_folder
from refineseg.system.memory import keep_freed_memory
from refineseg.training.distillation import Teacher, prepare_teacher, unlabelled_pictures
from refineseg.training.log import METRICS
from refineseg.training.parallel import make_fabric
from refineseg.training.plan import check_memory
from refineseg.training.run import BEST, CHECKPOINTS, CURVES, LAST, SETTINGS, Report, Run, Watcher

VAL_LEARNT = "val is trained on, now or before: its scores say nothing of other pictures, and none is kept"
EMULATED = "this processor has no bf16, which is emulated and many times slower: use --precision 32"


def prepare(
    config: TrainConfig,
    data: SegmentationData,
    folder: str | Path,
    *,
    resume: bool = False,
    watch: Watcher | None = None,
    device: str = "auto",
    teacher: Teacher | None = None,
) -> Run:
    """A run ready for its first step. Arguments and errors are those of ``refineseg.train``."""
    folder = Path(folder)
    half_written = left_by_a_kill(folder)
    if not resume and folder.is_dir() and set(folder.iterdir()) - set(half_written):
        raise InputError(
            f"expected a new or empty folder for the run, {folder} holds files; use --resume or another -o"
        )
    data.split("val")
    data = with_train_splits(config, data)
    learnt = learnt_splits(config, data)
    keep_freed_memory()
    fabric = make_fabric(config, device)
    torch.manual_seed(config.seed)
    config = replace(config, model=pinned(config.model), teacher=config.teacher and pinned(config.teacher))
    if config.labelled_in_batch % fabric.world_size:
        raise ConfigError(
            f"expected labelled pictures in a batch that {fabric.world_size} processes can share, got "
            f"{config.labelled_in_batch}: change batch_size or unlabelled_share"
        )
    share = config.batch_size // fabric.world_size
    if share < 2 and max(config.augment.crop) <= 32 and not config.freeze_batch_norm:
        raise ConfigError(
            f"expected more than one pixel at stride 32 for batch norm, got {share} picture a process of crop "
            f"{config.augment.crop}: raise the crop or the batch size, or set freeze_batch_norm"
        )
    data = with_bands_of_model(config, data)
    model = initial_model(config, data)
    taught = prepare_teacher(config, data, teacher, fabric.device)
    unlabelled, left_out = unlabelled_pictures(config, data)
    check_memory(model, config, fabric.device, fabric.world_size)
    if watch is None or not fabric.is_global_zero:
        watch = _nobody
    if config.precision == "bf16" and fabric.device.type == "cpu" and not has_bf16():
        watch(Report(0, 0, 0, 0.0, 0.0, 0.0, phase="note", note=EMULATED))
    if "val" in learnt:
        watch(Report(0, 0, 0, 0.0, 0.0, 0.0, phase="note", note=VAL_LEARNT))
    if left_out:
        own = f"{left_out} pictures in {config.unlabelled} are the data set's own and are not used as unlabelled"
        watch(Report(0, 0, 0, 0.0, 0.0, 0.0, phase="note", note=own))
    pictures = TrainingPictures(data, "train", config.augment, config.seed, unlabelled)
    pictures.prepare(config.cache_mb, lambda done, of: watch(Report(done, of, 0, 0.0, 0.0, 0.0, phase="reading")))
    writable_folder(folder)
    if fabric.is_global_zero:
        for path in half_written:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not (folder / SETTINGS).exists():
            atomic_write(folder / SETTINGS, to_yaml(config.to_dict()))
    return Run(config, data, folder, fabric, model, pictures, watch, learnt, teacher=taught)


def with_train_splits(config: TrainConfig, data: SegmentationData) -> SegmentationData:
    """The data whose ``train`` is all the splits that are trained on, in their order."""
    pictures = tuple(sample for name in config.train_splits for sample in data.split(name))
    return replace(data, splits={**data.splits, "train": pictures})


def learnt_splits(config: TrainConfig, data: SegmentationData) -> tuple[str, ...]:
    """The splits trained on, here or before by the model to start from or by the teacher."""
    names = [name for name in (config.model, config.teacher) if name is not None and name not in PRESETS]
    cards = [read_config(find_model(name))[1] for name in names]
    kept = tuple(name for name in data.splits if any(card.has_learnt(data.name, name) for card in cards))
    return tuple(dict.fromkeys((*config.train_splits, *kept)))


def has_bf16() -> bool:
    """Whether this machine's processor computes in bf16 (AVX-512 without its bf16 part counts, as for oneDNN)."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch without oneDNN does not say
        return True


def left_by_a_kill(folder: Path) -> list[Path]:
    """Files and folders of a run that a kill left half-written."""
    names = (
        *(SETTINGS, METRICS, CURVES, BEST, LAST, "tensorboard/events.*.refineseg"),
        *(f"{CHECKPOINTS}/step-*.pt", f"{CHECKPOINTS}/step-*.sha256"),
    )
    return [path for name in names for path in leftovers(folder / name)]


def _nobody(_report: Report) -> None:
    pass


def initial_model(config: TrainConfig, data: SegmentationData) -> RefineNet:
    """The network to train: a preset with random or ImageNet weights, or the weights of a model folder."""
    if config.model in PRESETS:
        channels = data.channels
        fields: dict[str, Any] = dict(config.fields)
        if channels is not None:
            fields = {"in_channels": channels.count, "mean": channels.mean, "std": channels.std} | fields
        count = 3 if channels is None else channels.count
        if fields.get("in_channels", 3) != count:
            raise ConfigError(f"expected in_channels of {count}, as in the data, got {config.fields}")
        return create_model(config.model, data.label_map.num_classes, config.backbone_weights, **fields)
    model, card = load_model_folder(find_model(config.model), **config.fields)
    if card.labels.names != data.label_map.names:
        raise ConfigError(
            f"{config.model} was trained for {card.labels.names}, the data has {data.label_map.names}"
        )
    if config.backbone_weights:
        for backbone in model.each_backbone():
            load_backbone_weights(backbone, config.backbone_weights)
    return model


def with_bands_of_model(config: TrainConfig, data: SegmentationData) -> SegmentationData:
    """The data as the model folder that training starts from sees it: raw values keep their meaning."""
    if config.model in PRESETS:
        return data
    channels = read_config(find_model(config.model))[1].channels
    kinds = [None if item is None else (item.count, item.dtype) for item in (channels, data.channels)]
    if kinds[0] != kinds[1]:
        model, here = ("RGB" if kind is None else f"{kind[0]} channels of {kind[1]}" for kind in kinds)
        raise ConfigError(f"{config.model} was trained on {model}, the data has {here}: start from a preset")
    return replace(data, channels=channels)
