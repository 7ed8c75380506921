"""Parameter groups, learning rate, frozen batch norm, moving average."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError
from refineseg.model.refinenet import RefineNet


def lr_multiplier(name: str, config: TrainConfig) -> float:
    """Multiplier of the learning rate for the parameter of this name."""
    starts = [start for start in config.lr_multipliers if name.startswith(start)]
    if starts:
        return config.lr_multipliers[max(starts, key=len)]
    return config.backbone_lr if name.startswith("backbones.") else 1.0


def make_optimizer(model: RefineNet, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over groups with the same learning rate and weight decay, without frozen parameters.

    Biases and batch norm have no decay unless ``decay_all``.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = lr_multiplier(name, config), parameter.ndim > 1 or config.decay_all
            groups.setdefault(group, []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": config.lr * multiplier,
            "base_lr": config.lr * multiplier,
            "weight_decay": config.weight_decay if decayed else 0.0,
        }
        for (multiplier, decayed), members in groups.items()
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=config.lr, momentum=0.9)
    return torch.optim.AdamW(parameters, lr=config.lr)


def lr_factor(step: int, steps: int, config: TrainConfig) -> float:
    """Factor on the base learning rate at a step (0-based): a pure function, so that resuming keeps it."""
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
        case "halving":
            return 0.5 ** min(2, 3 * step // max(1, steps))
        case _:
            return 1.0


def freeze(model: RefineNet, config: TrainConfig) -> None:
    """Freeze what the settings freeze: batch norms, the backbone, parts at a rate of zero.

    ConfigError if no parameter's name starts with a name in ``lr_multipliers``.
    """
    if config.freeze_batch_norm:
        freeze_batch_norm(model, trained=config.freeze_batch_norm == "statistics")
    names = [name for name, _ in model.named_parameters()]
    for start in config.lr_multipliers:
        if not any(name.startswith(start) for name in names):
            parts = sorted({".".join(name.split(".")[:3]) for name in names if not name.startswith("backbones.")})
            raise ConfigError(
                f"no parameter's name starts with {start!r:.80} (lr_multipliers): parts are {', '.join(parts)}"
            )
    if lr_multiplier("backbones.", config) == 0:
        freeze_batch_norm(model.backbones)
    for name, parameter in model.named_parameters():
        if lr_multiplier(name, config) == 0:
            parameter.requires_grad_(False)


def freeze_batch_norm(model: nn.Module, trained: bool = False) -> None:
    """Freeze the statistics of every batch norm, and its weights unless ``trained``.

    ``train`` is replaced on the instances, so that ``model.train()`` does not undo it.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda _mode=True, kept=module: kept  # type: ignore[method-assign, misc]
            for parameter in module.parameters():
                parameter.requires_grad_(trained)


class MovingAverage:
    """Exponential moving average of a network's weights and statistics, in a copy."""

    def __init__(self, model: RefineNet, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: RefineNet, step: int) -> None:
        """Move towards ``model``, faster in early steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged, current = self.model.state_dict(), model.state_dict()
        floating = [key for key, value in averaged.items() if value.is_floating_point()]
        own, new = ([own_shard(state[key]) for key in floating] for state in (averaged, current))
        torch._foreach_lerp_(own, new, 1 - decay)
        for key in averaged.keys() - set(floating):
            averaged[key].copy_(current[key])


def own_shard(tensor: Tensor) -> Tensor:
    """This process's shard of a sharded tensor; the tensor itself otherwise."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
