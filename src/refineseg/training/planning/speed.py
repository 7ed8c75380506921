"""Speed of training on this machine, measured in a few steps, and the largest batch that fits."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from refineseg.config import TrainConfig
from refineseg.inference.devices import has_bf16, pick_device
from refineseg.model.presets import build, model_config
from refineseg.system.memory import hand_back_memory
from refineseg.training.memory import fitting_batch, forward_backward
from refineseg.training.optimizer import make_optimizer
from refineseg.training.parallel import use_float32_depthwise

WARM, TIMED = 1, 2  # steps
OF_A_STEP = 0.85  # the rest of the time is for reading, augmenting and the moving average


@dataclass(frozen=True)
class Machine:
    """Device, number of threads, and whether it computes in bf16."""

    device: str
    threads: int
    bf16: bool


def this_machine(device: str = "auto") -> Machine:
    """The machine for a device name."""
    chosen = pick_device(device)
    return Machine(str(chosen) if chosen.index else chosen.type, torch.get_num_threads(), has_bf16(chosen))


def images_per_second(config: TrainConfig, classes: int, channels: int, device: str) -> tuple[float, int]:
    """Training pictures per second of a preset with these settings on random data, and the batch that fits."""
    fields = {key: value for key, value in config.fields.items() if key not in ("mean", "std")}
    values = {"in_channels": channels, "mean": (0.5,) * channels, "std": (0.5,) * channels}
    where = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        network = build(model_config(config.model, classes, **(fields | values)))
        use_float32_depthwise(network)
        batch = fitting_batch(network, config, where)
        network = network.to(where, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizer = make_optimizer(network, config)
        height, width = config.augment.crop
        images = torch.rand(batch, channels, height, width, device=where)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(batch, height, width, dtype=torch.uint8, device=where)
        seconds = []
        for _ in range(WARM + TIMED):
            start = time.perf_counter()
            loss = forward_backward(network, config, images, labels)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()  # waits for a GPU
            seconds.append(time.perf_counter() - start)
    del network, optimizer, images, labels, loss
    hand_back_memory()  # the training's own check would take it for used
    return OF_A_STEP * batch / statistics.median(seconds[WARM:]), batch
