"""The recipe's parts: loss, parameter groups, learning rate, moving average. No loop and no files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from refineseg.config import TrainConfig
from refineseg.labels import IGNORE
from refineseg.model.refinenet import RefineNet
from refineseg.system import processes

Loss = Callable[[Tensor, Tensor], Tensor]
OHEM_THRESHOLD, OHEM_KEPT = 0.7, 1 / 16


def make_loss(config: TrainConfig, class_pixels: Tensor) -> Loss:
    """Loss of stride-4 logits BxKxhxw against labels BxHxW (uint8 train ids, IGNORE left out).

    ``full`` upsamples the logits to the labels; ``paper`` brings the labels to the logits by nearest neighbour
    (the authors' recipe). The mean is over valid pixels; a batch without any has loss 0.

    With several processes the mean of their losses (and so of their gradients) is that of the whole batch,
    although their shares differ in valid pixels. ``ohem`` chooses the hardest pixels of each share.

    Args:
        config: which loss.
        class_pixels: pixels per class in the training set, for class weights.
    """
    weights = class_weights(class_pixels, config.class_weights) if config.class_weights else None

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        logits = logits.float()
        target = labels.long()
        if config.loss_resolution == "paper":
            target = F.interpolate(labels[:, None].float(), logits.shape[-2:], mode="nearest-exact")[:, 0].long()
        else:
            logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
        weight = None if weights is None else weights.to(logits)
        pixels = F.cross_entropy(
            logits,
            target,
            weight,
            ignore_index=IGNORE,
            reduction="none",
            label_smoothing=config.label_smoothing,
        )
        valid = target != IGNORE
        if config.loss == "ohem":
            return ohem_mean(pixels, valid)
        count = valid.sum() if weight is None else weight[target[valid]].sum()
        return pixels.sum() / processes.mean(count.float()).clamp(min=1e-6)

    return loss


def ohem_mean(pixels: Tensor, valid: Tensor) -> Tensor:
    """Mean over the hard pixels: true class under a probability of 0.7, at least a sixteenth of all."""
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


def make_optimizer(model: RefineNet, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over four groups: backbone and decoder, with and without weight decay.

    Biases and batch norm have no decay; the backbone's rate is ``backbone_lr`` times the decoder's.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbones."), parameter.ndim > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": config.lr * (config.backbone_lr if backbone else 1.0),
            "base_lr": config.lr * (config.backbone_lr if backbone else 1.0),
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (backbone, decayed), members in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=0.9)
    return torch.optim.AdamW(parameters, lr=config.lr)


def rate(step: int, steps: int, config: TrainConfig) -> float:
    """Share of the base rate at a step (0-based): a pure function, so that resuming keeps it."""
    warm = round(config.warmup * steps)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    match config.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * done)) * 0.99 + 0.01
        case "poly":
            return float((1 - done) ** 0.9)
        case "step":
            return 1.0 if step < config.drop_at * steps else 0.1
        case _:
            return 1.0


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep every batch norm's statistics and weights as they are, also after ``model.train()``.

    ``train`` of each is replaced on the instance, since ``model.train()`` would set it back otherwise.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda _mode=True, kept=module: kept  # type: ignore[method-assign, misc]
            for parameter in module.parameters():
                parameter.requires_grad_(False)


class MovingAverage:
    """Exponential moving average of a network's weights and statistics, in a copy of it."""

    def __init__(self, model: RefineNet, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: RefineNet, step: int) -> None:
        """Move towards ``model``; early steps move faster, so that the random start is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = self.model.state_dict(), model.state_dict()
        floating = [key for key, value in averaged.items() if value.is_floating_point()]
        own, new = ([own_shard(state[key]) for key in floating] for state in (averaged, current))
        torch._foreach_lerp_(own, new, 1 - decay)
        for key in averaged.keys() - set(floating):
            averaged[key].copy_(current[key])


def own_shard(tensor: Tensor) -> Tensor:
    """What this process has of a sharded tensor; of any other, all."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
