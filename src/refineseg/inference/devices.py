"""Where a network runs."""

from __future__ import annotations

import torch

from refineseg.errors import InputError


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one. InputError for a device that this machine lacks."""
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
