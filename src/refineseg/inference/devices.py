"""The device that a network runs on, and its free memory."""

from __future__ import annotations

import torch

from refineseg.errors import InputError
from refineseg.system import memory


def pick_device(name: str) -> torch.device:
    """The device by name; ``auto`` is the GPU if there is one. InputError for a device that this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"expected a device such as auto, cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise InputError(f"expected the device {name}, this machine has none; use --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"expected a device such as auto, cpu or cuda, got {name!r}")
    return device


def free_device_memory(device: torch.device) -> int | None:
    """Free bytes of a GPU's own memory, or of the machine's for other devices; None if unknown."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory.free_memory()
