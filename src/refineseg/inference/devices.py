"""The device that a network runs on, and its free memory."""

from __future__ import annotations

import torch

from refineseg.errors import InputError
from refineseg.system import memory
from refineseg.system.hardware import instruction_sets

BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # instruction sets, the last one of ARM
EMULATED_BF16 = "this {device} emulates bf16, slower than float32: use --precision 32"


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
    """Free bytes of a GPU's own memory, or of the machine's for other devices; None if unknown.

    On a GPU also what torch keeps of freed tensors, on a CPU at most what ``ulimit -v`` leaves.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    known = (memory.free_memory(), memory.free_addresses())
    return min((free for free in known if free is not None), default=None)


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16 itself. Torch also runs bf16 elsewhere, but slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return True
    by_torch = getattr(torch.cpu, "get_capabilities", dict)  # not in every torch
    known = instruction_sets() or [name for name, has in by_torch().items() if has is True]
    if known:  # from Linux, or found by torch on other systems
        return any(name in known for name in BF16)
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # true of all AVX-512
    except (AttributeError, RuntimeError):  # a torch without oneDNN
        return True


def precision_note(device: torch.device, precision: str) -> str:
    """A note if a precision is slower than float32 on a device; empty otherwise."""
    slow = precision == "bf16" and not has_bf16(device)
    return EMULATED_BF16.format(device="processor" if device.type == "cpu" else "GPU") if slow else ""
