"""Whether a training step fits in memory, without running it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError
from refineseg.inference.devices import free_device_memory
from refineseg.model.memory import MemoryNeed, bytes_of, fake_copy, memory_need, tensors_of
from refineseg.model.refinenet import RefineNet
from refineseg.system.text import counted
from refineseg.training.losses import at_one_resolution, pixel_losses
from refineseg.training.optimizer import freeze, lr_multiplier

GIB = 1 << 30
STATES = {"adamw": 2, "sgd": 1}  # copies of the weights in the optimiser's state
HEAP = 1.5  # memory of a process relative to its live tensors: glibc's heap has holes (docs/speed.md)
GENEROUS = 64 << 10  # bytes per pixel, more than any network needs: nothing is estimated if this fits


def need_of_step(model: RefineNet, config: TrainConfig, batch: int | None = None) -> MemoryNeed:
    """Memory of a training step of ``batch`` crops (default: the batch size of the settings).

    ``resting``: weights, moving average, optimiser state, batch; ``working``: activations, gradients, loss.
    Losses are estimated as cross-entropy.
    """
    batch = config.batch_size if batch is None else batch

    def prepare(mode: FakeTensorMode) -> tuple[list[Tensor], Callable[[], object]]:
        network = fake_copy(model, mode).train()
        freeze(network, config)
        height, width = config.augment.crop
        images = torch.empty(batch, model.config.in_channels, height, width)
        labels = torch.zeros(batch, height, width, dtype=torch.uint8)

        def step() -> None:
            forward_backward(network, config, images.contiguous(memory_format=torch.channels_last), labels)

        return [*tensors_of(network), images, labels], step

    need = memory_need(prepare)
    named = model.named_parameters()
    trained = bytes_of(value for name, value in named if value.requires_grad and lr_multiplier(name, config) > 0)
    kept = STATES[config.optimizer] * trained + (bytes_of(tensors_of(model)) if config.ema else 0)
    return MemoryNeed(need.resting + kept, need.working)


def forward_backward(network: nn.Module, config: TrainConfig, images: Tensor, labels: Tensor) -> Tensor:
    """Gradients and value of cross-entropy with the settings, in one process and without data-dependent parts."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        logits = network(images, upsample=False)
    logits, target = at_one_resolution(logits, labels, config)
    loss = pixel_losses(logits, target, None, config).mean()
    torch.autograd.backward(loss)
    return loss


def largest_batch(model: RefineNet, config: TrainConfig, free: int, below: int) -> int:
    """Largest batch below ``below`` whose step fits in ``free`` bytes; 0 if none does.

    By binary search, since the peak is not linear in the batch size.
    """
    return bisect(range(1, below), False, key=lambda batch: need_of_step(model, config, batch).peak > free)


def fitting_batch(model: RefineNet, config: TrainConfig, device: torch.device) -> int:
    """The batch size of the settings, or the largest that fits in memory with the heap's holes, at least 1."""
    room = memory_for_step(model, device, holes=True)
    if room is None or surely_fits(model, config, config.batch_size, room):
        return config.batch_size
    return max(1, largest_batch(model, config, room, config.batch_size + 1))


def memory_for_step(model: RefineNet, device: torch.device, share: int = 1, holes: bool = False) -> int | None:
    """Bytes that a step may take, with those of the network, which is on the CPU; None if unknown.

    Without those that the holes of a CPU's heap take if ``holes``. ``share`` processes share the machine's memory.
    """
    free = free_device_memory(device)
    if free is None or device.type != "cpu":
        return free
    return int(free / share / (HEAP if holes else 1)) + bytes_of(tensors_of(model))


def surely_fits(model: RefineNet, config: TrainConfig, batch: int, room: int) -> bool:
    """Whether a step fits in so many bytes even if it takes more than any network does; nothing is estimated."""
    height, width = config.augment.crop
    return batch * height * width * GENEROUS + 9 * bytes_of(tensors_of(model)) < room


def check_memory(model: RefineNet, config: TrainConfig, device: torch.device, share: int = 1) -> str:
    """A warning if a step fits in memory only without holes in the heap; empty if it fits.

    The network is on the CPU; ``share`` processes share the machine's memory and the batch of the settings.

    Raises:
        ConfigError: it does not fit. Both name the largest batch that does.
    """
    batch, (height, width) = max(1, config.batch_size // share // config.accumulate), config.augment.crop
    free, room = (memory_for_step(model, device, share, holes) for holes in (False, True))
    if free is None or room is None or surely_fits(model, config, batch, room):
        return ""
    need = need_of_step(model, config, batch).peak
    if need <= room:
        return ""
    most = largest_batch(model, config, room, batch) * share
    advice = f"--batch-size {most} fits" if most else "not even one picture fits: use a smaller --crop or network"
    step = f"a training step of {counted(config.batch_size, 'picture')} of {width}x{height}"
    if need > free:
        raise ConfigError(
            f"not enough memory for {step}: it needs {need / GIB:.1f} GiB, {free / GIB:.1f} are free: {advice}"
        )
    return (
        f"memory is short for {step}: it needs {need / GIB:.1f} GiB, and up to half as much again for gaps "
        f"between blocks; {free / GIB:.1f} are free, and the system may kill the training: {advice}"
    )
