"""One optimiser step: forward and backward of a batch, in ``accumulate`` parts, and the update."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from refineseg.labels import IGNORE, UNLABELLED
from refineseg.training.distillation import soft_loss, teacher_logits
from refineseg.training.losses import make_loss
from refineseg.training.run import Run


class Step:
    """An optimiser step on images Bx3xHxW and labels BxHxW; returns the loss, on the device.

    Network and optimiser are wrapped by Fabric. Returns the norm of the gradient if that is not finite.
    """

    def __init__(self, run: Run, network: nn.Module, optimizer: Any) -> None:
        self.run, self.network, self.optimizer = run, network, optimizer
        self.loss_of = make_loss(run.config, run.pictures.class_pixels.sum(0), run.custom.get("loss"))

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward, backward and update."""
        fabric, config = self.run.fabric, self.run.config
        labels = labels.to(fabric.device, non_blocking=True)
        whole = _pixels(labels)
        parts = list(zip(images.chunk(config.accumulate), labels.chunk(config.accumulate), strict=True))
        total = torch.zeros((), device=fabric.device)
        for index, (some, known) in enumerate(parts):
            waits = index < len(parts) - 1 and fabric.world_size > 1
            with fabric.no_backward_sync(self.network, enabled=waits):  # type: ignore[arg-type]
                shares = [part / all_.clamp(min=1) for part, all_ in zip(_pixels(known), whole, strict=True)]
                loss = self._loss(to_input(some, fabric.device), known, shares if len(parts) > 1 else [1, 1])
                fabric.backward(loss)
            total += loss.detach()
        if config.clip_norm:
            norm = fabric.clip_gradients(
                self.network, self.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
            )
            if isinstance(norm, DTensor):
                norm = norm.full_tensor()
            if norm is not None:  # clipping to a norm that is not finite makes all gradients 0, or not finite
                total = torch.where(norm.isfinite(), total, norm.to(total))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _loss(self, images: Tensor, labels: Tensor, shares: list[Any]) -> Tensor:
        """Loss of a part, weighted by its share of the batch's labelled and valid pixels."""
        config, teacher = self.run.config, self.run.teacher
        logits = self.network(images, upsample=False)
        loss: Tensor = self.loss_of(logits, labels.masked_fill(labels == UNLABELLED, IGNORE)) * shares[0]
        if teacher is None:
            return loss
        with self.run.fabric.autocast():
            expected = teacher_logits(teacher, images)
        soft = soft_loss(logits, expected, labels, config.teacher_temperature) * shares[1]
        mixed: Tensor = torch.lerp(loss, soft, config.teacher_weight)
        return mixed


def _pixels(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Number of labelled pixels, and of pixels for the teacher."""
    return (labels < UNLABELLED).sum(), (labels != IGNORE).sum()


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """Bx3xHxW uint8, or float in [0, 1], to float32 in [0, 1], channels last."""
    images = images.to(device, non_blocking=True)
    unit = images if images.is_floating_point() else images.float().div_(255)
    return unit.contiguous(memory_format=torch.channels_last)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed dropout by (seed, step, process), so that no random state has to be restored."""
    torch.manual_seed((seed * 1_000_003 + step) * 1_009 + rank)
