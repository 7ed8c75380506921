"""The processor and the installed versions, for bug reports and to record with measured figures. No torch."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from refineseg.system.control_groups import cpu_limit

# Instruction sets that matter for matrix products.
INSTRUCTION_SETS = (
    "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "i8mm",
    "bf16",
)  # fmt: skip
PACKAGES = ("torch", "torchvision", "timm", "segmentation-models-pytorch", "onnxruntime", "openvino")


def processor_name() -> str:
    """The processor's own name, or its architecture."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Instruction sets of ``INSTRUCTION_SETS`` that the processor has; empty if not reported."""
    for line in _cpuinfo():
        if line.startswith(("flags", "Features")):
            found = set(line.partition(":")[2].split())
            return [name for name in INSTRUCTION_SETS if name in found]
    return []


def cores() -> int:
    """Number of cores given to this process, also by its control groups (containers)."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(seen, cpu_limit() or seen)


def package_versions() -> dict[str, str]:
    """Installed versions of ``PACKAGES``; packages that are not installed are left out."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
