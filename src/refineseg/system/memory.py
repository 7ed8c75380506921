"""The machine's memory: how much is free, and freed memory kept in the process, or handed back.

Keeping it makes a training step on a CPU about 1.7 times as fast on Linux; handing it back bounds long work.
"""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

from refineseg.errors import RefinesegError
from refineseg.system.control_groups import groups, lines

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
OUT_OF_MEMORY = re.compile(
    r"bad_alloc|could not create a (primitive|memory)|(not enough|out of|(can't|cannot|failed to) allocate) "
    r"memory|can't start new thread|failed to map segment|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
# Files of a control group by version: its limits and memory in use, and a prefix in memory.stat.
# Beyond memory.high the kernel slows a group down instead of ending it.
FILES: dict[int, tuple[tuple[str, ...], str, str]] = {
    1: (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_"),
    2: (("memory.max", "memory.high"), "memory.current", ""),
}
# CPython's words for a function in C that failed without saying why, which importing does where memory is short.
LOST = re.compile(r"without (setting an exception|exception set)")
SCARCE = 128 << 20  # bytes below which lack of memory is assumed to be the reason


def keep_freed_memory() -> bool:
    """Tell glibc to reuse large freed blocks instead of handing them back and faulting their pages in again.

    A training step, or a batch of pictures, allocates the same hundreds of megabytes each time; by default every
    activation above 32 MiB is mapped and unmapped anew. Threads share one arena, since arenas of their own hand
    every large block back; existing arenas stay in use, so call it before starting threads.
    Measured in docs/notebook/experiments.md. Returns whether it took effect; only glibc can do it.
    """
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_ARENA_MAX: 1}
    taken = [_call_glibc("mallopt", option, value) for option, value in settings.items()]
    return all(taken)


def hand_back_memory() -> bool:
    """Give the pages of freed blocks back to the system, also those between blocks that are in use.

    Where long-lived blocks (decoded parts of a file) lie among large short-lived ones (activations), glibc's heap
    has holes that it does not return by itself. Returns whether anything was given back; elsewhere than on glibc
    nothing happens.
    """
    return _call_glibc("malloc_trim", 0)


def _call_glibc(function: str, *arguments: int) -> bool:
    """The result of a function of glibc; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(getattr(ctypes.CDLL("libc.so.6"), function)(*arguments))
    except (OSError, AttributeError):
        return False


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes available to this process, also within its control groups (containers); None if unknown.

    Cached files count as free. Source: proc(5); the kernel's
    Documentation/admin-guide/cgroup-v2.rst.
    """
    available = _number(root / "proc/meminfo", "MemAvailable:")
    found = [] if available is None else [1024 * available]
    for version, folder in groups("memory", root):
        limits, current, total = FILES[version]
        limit = min((most for name in limits if (most := _number(folder / name)) is not None), default=None)
        used = _number(folder / current)
        if limit is not None and used is not None:
            kinds = (f"{total}inactive_file ", f"{total}active_file ")  # files read once, and more often
            cached = sum(_number(folder / "memory.stat", kind) or 0 for kind in kinds)
            found.append(max(0, limit - used + cached))
    return min(found, default=None)


def free_addresses(root: Path = Path("/")) -> int | None:
    """Bytes by which this process may still grow (``ulimit -v``); None if it has no such limit.

    More than that of memory: it counts what was reserved and never used. Source: proc(5).
    """
    limit = _number(root / "proc/self/limits", "Max address space")
    size = _number(root / "proc/self/status", "VmSize:")
    return None if limit is None or size is None else max(0, limit - 1024 * size)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or one that caused it, means that memory ran out.

    Those of torch, oneDNN, OpenVINO and ONNX Runtime are recognised by their text.
    """
    while error is not None:
        known = isinstance(error, RefinesegError)  # its text may quote a file
        if isinstance(error, MemoryError) or (not known and OUT_OF_MEMORY.search(str(error))):
            return True
        if isinstance(error, SystemError) and LOST.search(str(error)):
            return any(free is not None and free < SCARCE for free in (free_addresses(), free_memory()))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _number(path: Path, name: str = "") -> int | None:
    """The number after a name that begins a line; None if there is none, as for "max" or "unlimited"."""
    words = next((line.removeprefix(name).split() for line in lines(path) if line.startswith(name)), [])
    return int(words[0]) if words and words[0].isdecimal() else None
