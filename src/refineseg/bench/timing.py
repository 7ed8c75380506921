"""Timing candidates alternately, so that other load on the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from refineseg.bench.machine import wait_for
from refineseg.system.memory import hand_back_memory


def spread(values: Sequence[float], digits: int) -> dict[str, float]:
    """Median, least and greatest of one or more measurements, rounded, for JSON."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def time_in_turns(
    candidates: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    done: Callable[[str], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds of every candidate, ``repeats`` of each after one round that does not count.

    Each round runs all of them once, starting with another one each time, so that entry i of all lists belongs to
    one round and ratios can be taken within rounds.
    """
    names = list(candidates)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(repeats + 1):
        shift = round_number % len(names)
        for name in names[shift:] + names[:shift]:
            wait_for(device)
            start = time.perf_counter()
            candidates[name]()
            wait_for(device)
            if round_number:
                seconds[name].append(time.perf_counter() - start)
            if done is not None:
                done(name)
    return seconds


def ratios(baseline: Sequence[float], other: Sequence[float]) -> list[float]:
    """How many times as fast as the baseline, round by round."""
    return [one / two for one, two in zip(baseline, other, strict=True)]


def peak_memory(work: Callable[[], object], device: torch.device) -> int | None:
    """Peak bytes of one call, beyond the process's resident memory or the card's allocated memory.

    Includes what libraries allocate by themselves. None if the system does not report it.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return int(torch.cuda.max_memory_allocated(device) - before)
    hand_back_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the highest resident size starts anew
    except OSError:
        return None
    rest = _status("VmRSS")
    work()
    peak = _status("VmHWM")
    return None if rest is None or peak is None else peak - rest


def _status(name: str) -> int | None:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
