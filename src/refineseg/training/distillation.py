"""Distillation: soft labels of the training crops by a teacher (Hinton et al., 2015)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refineseg.channels import Channels
from refineseg.config import TrainConfig
from refineseg.data.dataset import SegmentationData, folder_of_pictures
from refineseg.errors import ConfigError, InputError
from refineseg.labels import IGNORE, UNLABELLED
from refineseg.model.classifier import change_classes
from refineseg.model.folders.find_model import find_model
from refineseg.model.folders.model_folder import load_model_folder
from refineseg.model.refinenet import RefineNet
from refineseg.system import processes

Teacher = Callable[[Tensor], Tensor]  # images BxCxHxW in [0, 1] to logits BxKxhxw of any size


def soft_loss(logits: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence of teacher and student at a temperature T, times T squared (Hinton et al., section 2).

    Logits are BxKxhxw; the teacher's may have any size and are resized bilinearly. Labels BxHxW are uint8 train
    ids, IGNORE or UNLABELLED; ignored pixels do not count.
    """
    size = logits.shape[-2:]
    if teacher.shape[-2:] != size:
        teacher = F.interpolate(teacher.float(), size, mode="bilinear", align_corners=False)
    valid = F.interpolate((labels != IGNORE)[:, None].float(), size, mode="nearest-exact")[:, 0]
    expected = F.log_softmax(teacher.float() / temperature, 1)
    given = F.log_softmax(logits.float() / temperature, 1)
    pixels = F.kl_div(given, expected, reduction="none", log_target=True).sum(1)
    return (pixels * valid).sum() * temperature**2 / processes.mean(valid.sum()).clamp(min=1e-6)


def load_teacher(name: str, data: SegmentationData) -> RefineNet:
    """A model as a teacher, with logits in the order of the data's classes.

    WeightsError for an unknown model, ConfigError for other classes or channels than the data's.
    """
    model, card = load_model_folder(find_model(name))
    theirs, ours = card.labels.names, data.label_map.names
    if sorted(theirs) != sorted(ours):
        lacking, extra = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
        raise ConfigError(
            f"teacher {name} has other classes than the data: it lacks {lacking} and also has {extra}; "
            "choose a teacher of the same classes"
        )
    if _range(card.channels) != _range(data.channels):
        raise ConfigError(f"teacher {name} was trained on pictures with other channels than the data's")
    change_classes(model, len(ours), {index: theirs.index(name) for index, name in enumerate(ours)})
    return model


def prepare_teacher(
    config: TrainConfig, data: SegmentationData, given: Teacher | None, device: torch.device
) -> Teacher | None:
    """The teacher of a run, custom (``given``) or named by the settings, tested on a crop; None without one.

    ConfigError for conflicting settings, or logits of the wrong shape.
    """
    if given is not None and config.teacher:
        raise ConfigError(f"two teachers, the setting {config.teacher!r} and the argument: give one")
    if given is None and config.teacher is None:
        if config.unlabelled:
            raise ConfigError("unlabelled pictures need a teacher to label them: set teacher")
        return None
    if given is None:
        teacher: Teacher = partial(load_teacher(str(config.teacher), data).to(device), upsample=False)
    else:
        teacher = given.to(device).eval() if isinstance(given, nn.Module) else given
    channels = data.channels.count if data.channels else 3
    logits = teacher_logits(teacher, torch.zeros(1, channels, *config.augment.crop, device=device))
    classes = data.label_map.num_classes
    if not isinstance(logits, Tensor) or logits.ndim != 4 or logits.shape[:2] != (1, classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ConfigError(f"expected logits 1x{classes}xHxW of the teacher for one picture, got {got}")
    return teacher


def teacher_logits(teacher: Teacher, images: Tensor) -> Tensor:
    """The teacher's logits, without gradients."""
    with torch.no_grad():
        return teacher(images)


def unlabelled_pictures(config: TrainConfig, data: SegmentationData) -> tuple[tuple[Path, ...], int]:
    """Pictures of the folder ``config.unlabelled`` that are in no split, and the number of others."""
    if config.unlabelled is None:
        return (), 0
    if data.label_map.num_classes > UNLABELLED:
        raise ConfigError(
            f"unlabelled pictures need {UNLABELLED} classes or fewer, got {data.label_map.num_classes}"
        )
    own = {sample.image.resolve() for samples in data.splits.values() for sample in samples}
    found = folder_of_pictures(Path(config.unlabelled))
    kept = tuple(path for path in found if path.resolve() not in own)
    if not kept:
        raise InputError(f"no pictures in {config.unlabelled} besides the data set's own ({len(found)} of those)")
    return kept, len(found) - len(kept)


def _range(channels: Channels | None) -> object:
    """What determines the conversion of raw values."""
    return None if channels is None else (channels.dtype, channels.low, channels.high)
