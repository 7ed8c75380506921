"""The losses. A new one is a function here and a line in ``LOSSES``, or a callable given to ``refineseg.train``.

Each takes logits BxKxHxW (float32) and labels BxHxW (int64 train ids, IGNORE left out) of one resolution, weights
by class (K, or None) and the settings, and returns a scalar that is 0 where no pixel is valid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature

import torch
from torch import Tensor
from torch.nn import functional as F

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError
from refineseg.labels import IGNORE
from refineseg.system import processes
from refineseg.system.plugins import load_plugin, plugin_names

Loss = Callable[[Tensor, Tensor], Tensor]
WeightedLoss = Callable[[Tensor, Tensor, Tensor | None, TrainConfig], Tensor]
GROUP = "refineseg.losses"  # entry points of other packages, each a WeightedLoss
OHEM_THRESHOLD, OHEM_KEPT = 0.7, 1 / 16
FOCUS = 2.0  # exponent of the focal loss (Lin et al., ICCV 2017)
BOUNDARY_REACH, BOUNDARY_WEIGHT = 10, 5.0  # pixels; weight of pixels within this distance from an outline
SMOOTH = 1.0  # pixels added to numerator and denominator of Dice


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """Mean over valid pixels of the whole batch (over all processes), weighted by class."""
    return _mean(pixel_losses(logits, labels, weights, config), labels, weights)


def ohem(logits: Tensor, labels: Tensor, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """Cross-entropy of the hard pixels (online hard example mining) of each process."""
    return ohem_mean(pixel_losses(logits, labels, weights, config), labels != IGNORE)


def focal(logits: Tensor, labels: Tensor, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """Cross-entropy times (1 - probability of the true class) squared (Lin et al., ICCV 2017)."""
    plain = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
    pixels = pixel_losses(logits, labels, weights, config)
    return _mean((1 - torch.exp(-plain)) ** FOCUS * pixels, labels, weights)


def dice(logits: Tensor, labels: Tensor, weights: Tensor | None, _config: TrainConfig) -> Tensor:
    """1 - mean soft Dice coefficient of the classes in the labels, over the batch (Milletari et al., 3DV 2016)."""
    classes = logits.shape[1]
    valid = labels != IGNORE
    truth = F.one_hot(labels.masked_fill(~valid, 0), classes).permute(0, 3, 1, 2) * valid[:, None]
    probabilities = logits.softmax(1) * valid[:, None]
    both, true, given = (value.sum((0, 2, 3)) for value in (probabilities * truth, truth, probabilities))
    share = 1 - (2 * both + SMOOTH) / (true + given + SMOOTH)
    weight = (true > 0) * (torch.ones_like(share) if weights is None else weights)
    return (share * weight).sum() / weight.sum().clamp(min=1e-6)


def boundary_weighted(logits: Tensor, labels: Tensor, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """Cross-entropy in which pixels near an outline weigh five times as much (cf. U-Net's weight maps, 2015).

    An outline is where labels change, void included.
    """
    side = 2 * BOUNDARY_REACH + 1
    highest, lowest = labels[:, None].float(), -labels[:, None].float()
    for kernel in ((side, 1), (1, side)):
        pad = kernel[0] // 2, kernel[1] // 2
        highest, lowest = F.max_pool2d(highest, kernel, 1, pad), F.max_pool2d(lowest, kernel, 1, pad)
    near = 1 + (BOUNDARY_WEIGHT - 1) * (highest != -lowest)[:, 0]
    pixels, valid = pixel_losses(logits, labels, weights, config), labels != IGNORE
    of_class = near if weights is None else near * weights[labels.masked_fill(~valid, 0)]
    return (pixels * near).sum() / processes.mean((of_class * valid).sum()).clamp(min=1e-6)


LOSSES: dict[str, WeightedLoss] = {
    "boundary_weighted": boundary_weighted,
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "ohem": ohem,
}


def find_loss(name: str) -> list[WeightedLoss]:
    """The losses of a sum such as ``cross_entropy+dice``; ConfigError for unknown or unsuitable ones."""
    found = []
    for part in name.split("+"):
        loss = LOSSES.get(part.strip()) or load_plugin(GROUP, part.strip())
        if loss is None:
            known = ", ".join([*LOSSES, *plugin_names(GROUP)])
            raise ConfigError(
                f"unknown loss {part.strip()!r:.80}: expected {known}, or a sum such as cross_entropy+dice"
            )
        try:
            signature(loss).bind(*("logits", "labels", "weights", "config"))
        except TypeError as error:
            raise ConfigError(
                f"expected the loss {part.strip()!r} as a function of logits, labels, class weights and settings, "
                f"got {loss!r} ({error})"
            ) from error
        found.append(loss)
    return found


def make_loss(config: TrainConfig, class_pixels: Tensor, given: Loss | None = None) -> Loss:
    """Loss of stride-4 logits BxKxhxw and labels BxHxW (uint8 train ids, IGNORE left out).

    ``class_pixels`` of the training set are for class weights; a custom loss (``given``) is called with logits
    and labels of one resolution.
    """
    weights = _weights(class_pixels, config.class_weights)
    chosen = find_loss(config.loss)

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        logits, target = at_one_resolution(logits, labels, config)
        if given is not None:
            return given(logits, target)
        weight = None if weights is None else weights.to(logits)
        return torch.stack([part(logits, target, weight, config) for part in chosen]).sum()

    return loss


def at_one_resolution(logits: Tensor, labels: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Float32 logits and int64 labels: logits upsampled (``full``), or labels by nearest neighbour (``paper``)."""
    logits = logits.float()
    if config.loss_resolution == "paper":
        resized = F.interpolate(labels[:, None].float(), logits.shape[-2:], mode="nearest-exact")
        return logits, resized[:, 0].long()
    return F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False), labels.long()


def ohem_mean(pixels: Tensor, valid: Tensor) -> Tensor:
    """Mean over pixels whose true class has a probability below 0.7, but at least a sixteenth of all."""
    values = pixels[valid]
    if not values.numel():
        return pixels.sum() * 0
    kept = max(1, int(values.numel() * OHEM_KEPT))
    hard = values[values > -math.log(OHEM_THRESHOLD)]
    return hard.mean() if hard.numel() >= kept else values.topk(kept).values.mean()


def class_weights(class_pixels: Tensor, power: float) -> Tensor:
    """(median frequency / frequency) ** power per class, at most 10; classes without pixels weigh 1."""
    frequency = class_pixels.double() / class_pixels.sum().clamp(min=1)
    present = frequency > 0
    weights = torch.ones_like(frequency)
    weights[present] = (frequency[present].median() / frequency[present]) ** power
    return weights.clamp(max=10).float()


def _weights(class_pixels: Tensor, chosen: float | tuple[float, ...]) -> Tensor | None:
    """Class weights of the setting: a list, a power of the frequencies, or none."""
    if not isinstance(chosen, tuple):
        return class_weights(class_pixels, chosen) if chosen else None
    if len(chosen) != len(class_pixels):
        raise ConfigError(f"expected {len(class_pixels)} class_weights, one for each class, got {len(chosen)}")
    return torch.tensor(chosen)


def pixel_losses(logits: Tensor, labels: Tensor, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """Cross-entropy by pixel; 0 for ignored ones."""
    smoothing = config.label_smoothing
    return F.cross_entropy(
        logits, labels, weights, ignore_index=IGNORE, reduction="none", label_smoothing=smoothing
    )


def _mean(pixels: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Weighted mean over valid pixels of all processes."""
    valid = labels != IGNORE
    count = valid.sum() if weights is None else weights[labels[valid]].sum()
    return pixels.sum() / processes.mean(count.float()).clamp(min=1e-6)
