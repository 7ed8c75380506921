"""What a device computes in bf16."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from refineseg.inference import devices
from refineseg.loading import load
from refineseg.system import memory

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"], True),
        (["avx2", "fma", "avx512f", "avx512_vnni"], False),  # oneDNN says it supports bf16, but emulates it
        (["avx2", "fma"], False),
        (["asimd", "i8mm", "bf16"], True),
        (["asimd"], False),
    ],
)
def test_a_processor_has_bf16_by_its_instructions(
    sets: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "instruction_sets", lambda: sets)
    assert devices.has_bf16(CPU) is expected
    assert bool(devices.precision_note(CPU, "bf16")) is not expected
    assert devices.precision_note(CPU, "32") == ""


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
    ],
)
def test_without_proc_torch_knows_the_instructions(
    found: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows and macOS. oneDNN says that it supports bf16 on all AVX-512."""
    monkeypatch.setattr(devices, "instruction_sets", list)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert devices.has_bf16(CPU) is expected


def test_a_gpu_has_bf16_only_if_it_need_not_emulate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A T4 says that it supports bf16, with emulation."""

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert not devices.has_bf16(torch.device("cuda"))
    assert "this GPU emulates bf16" in devices.precision_note(torch.device("cuda"), "bf16")


@pytest.mark.parametrize("here", [True, False])
def test_a_model_is_loaded_with_a_note_on_a_slow_precision(here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_bf16", lambda device: here)
    said: list[Any] = []
    load("camvid-fast", "cpu", "bf16", say=said.append)
    assert ("note: this processor emulates bf16, slower than float32: use --precision 32" in said) is not here


def test_a_limit_of_addresses_bounds_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, addresses, expected in ((50, 30, 30), (30, 50, 30), (50, None, 50), (None, None, None)):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        monkeypatch.setattr(memory, "free_addresses", lambda addresses=addresses: addresses)
        assert devices.free_device_memory(CPU) == expected


def test_what_torch_keeps_of_a_gpus_memory_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large picture torch keeps the memory: the next one of that size was refused."""
    sizes = {"mem_get_info": (10, 100), "memory_reserved": 70, "memory_allocated": 20}
    for name, size in sizes.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, size=size: size)
    assert devices.free_device_memory(torch.device("cuda")) == 60
