"""Description and peak speed of the machine."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from refineseg._version import __version__
from refineseg.system.hardware import cores, instruction_sets, package_versions, processor_name

SIDES = (512, 1024, 2048)  # sides of the matrices
GPU_SIDES = (2048, 4096, 8192)  # smaller ones do not fill a GPU
SECONDS = 0.5  # time spent on each shape


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Processor, instruction sets, threads, memory, versions; and the GPU, if ``device`` is one."""
    facts: dict[str, Any] = {
        "processor": processor_name(),
        "instruction_sets": instruction_sets(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "refineseg": __version__,
        "versions": package_versions(),
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        facts["card"] = {"name": card.name, "memory_gib": round(card.total_memory / 2**30, 1)}
    return facts


@torch.inference_mode()
def peaks(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Peak GFLOP/s of matrix products and direct 3x3 convolutions, measured in a few seconds."""
    best: dict[str, float] = {"matrix": 0.0, "convolution": 0.0}
    for side in SIDES if device.type == "cpu" else GPU_SIDES:
        a = torch.randn(side, side, device=device).to(dtype)
        best["matrix"] = max(best["matrix"], 2 * side**3 / least_seconds(lambda a=a: a @ a, device) / 1e9)  # type: ignore[misc]
    for side, channels in ((32, 256), (64, 256), (128, 256), (64, 128)):
        x = (
            torch.randn(1, channels, side, side, device=device)
            .to(dtype)
            .contiguous(memory_format=torch.channels_last)
        )
        w = torch.randn(channels, channels, 3, 3, device=device).to(dtype)
        w = w.contiguous(memory_format=torch.channels_last)
        seconds = least_seconds(lambda x=x, w=w: F.conv2d(x, w, padding=1), device)  # type: ignore[misc]
        best["convolution"] = max(best["convolution"], 18 * channels**2 * side**2 / seconds / 1e9)
    return {name: round(value, 1) for name, value in best.items()}


def least_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest call within ``SECONDS``."""
    work()
    end, best = time.perf_counter() + SECONDS, float("inf")
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        wait_for(device)
        best = min(best, time.perf_counter() - start)
    return best


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
