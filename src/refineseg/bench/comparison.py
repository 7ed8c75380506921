"""A comparison as plain values, for the table and for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from refineseg.bench.machine import describe_machine, peaks
from refineseg.bench.networks import BASELINE, Candidate, Setting, runnable
from refineseg.bench.timing import peak_memory, ratios, spread, time_in_turns
from refineseg.errors import InputError
from refineseg.system.text import counted

FORMAT = 1  # version of the JSON


def time_candidates(
    candidates: Sequence[Candidate],
    setting: Setting,
    repeats: int,
    flop: float,
    done: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run candidates, among them the baseline, alternately, ``repeats`` rounds of each, and compare them.

    ``flop`` is that of the baseline's network on these pictures (``flop_of``), 0 if unknown; ``done`` is called
    with each finished step.

    Returns:
        ``machine``, ``setting``, ``peaks`` (1e9 FLOP/s), ``gflop``, ``floor_ms`` (the FLOP at the rate of the best
        direct convolution), and ``results`` by name with ``ms``, ``faster`` (speed relative to the baseline,
        within rounds), ``peak_mib`` (above rest), and for our own ``times_floor``, ``share_of_matrix_peak`` and
        ``same_labels`` (share of pixels); ``skipped`` with reasons.
    """
    if repeats < 1:
        raise InputError(f"expected --repeats of 1 or more, got {repeats}")
    works, skipped = runnable(candidates)
    if BASELINE not in works:
        raise InputError(f"expected the baseline to run: {skipped.get(BASELINE, 'it is missing')}")
    dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    best = peaks(setting.device, dtype)
    seconds = time_in_turns(works, repeats, setting.device, done)
    own = {candidate.name for candidate in candidates if candidate.own}
    floor = flop / best["convolution"] / 1e9
    results: dict[str, Any] = {}
    for name, work in works.items():
        typical, peak = median(seconds[name]), peak_memory(work, setting.device)
        results[name] = {
            "ms": spread([1000 * value for value in seconds[name]], 1),
            "faster": spread(ratios(seconds[BASELINE], seconds[name]), 2),
            "peak_mib": None if peak is None else round(peak / 2**20),
        }
        if name in own and flop:
            results[name]["times_floor"] = round(typical / floor, 2)
            results[name]["share_of_matrix_peak"] = round(flop / typical / 1e9 / best["matrix"], 2)
        if name in own and not setting.training:
            same = (works[BASELINE]() == work()).double().mean()  # share of the pixels
            results[name]["same_labels"] = round(float(same), 6)
    return {
        "format": FORMAT,
        "machine": describe_machine(setting.device),
        "setting": setting.to_dict() | {"repeats": repeats},
        "peaks": best,
        "gflop": round(flop / 1e9, 1),
        "floor_ms": round(1000 * floor, 1),
        "results": results,
        "skipped": skipped,
    }


def flop_of(net: nn.Module, setting: Setting) -> float:
    """FLOP (two per multiply-accumulate) of a network on the setting's pictures, counted without running it."""
    shape = (setting.batch, 3, *setting.size)
    state: Mapping[str, Tensor] = {
        name: value.to("meta") for name, value in [*net.named_parameters(), *net.named_buffers()]
    }
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(net, dict(state), (torch.empty(shape, device="meta"),))
    return float(counter.get_total_flops()) * (3 if setting.training else 1)  # backward is twice forward


COLUMNS = ("candidate", "ms", "times as fast", "peak MiB", "same labels", "relative to floor")


def rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row per candidate, fastest last, as text for ``COLUMNS``; then skipped candidates."""
    found = []
    for name, result in sorted(report["results"].items(), key=lambda item: -item[1]["ms"]["median"]):
        ms, faster = result["ms"], result["faster"]
        same, floor = result.get("same_labels"), result.get("times_floor")
        found.append(
            (
                name,
                f"{ms['median']:,.0f} ({ms['min']:,.0f} to {ms['max']:,.0f})",
                f"{faster['median']:.2f} ({faster['min']:.2f} to {faster['max']:.2f})",
                "-" if result["peak_mib"] is None else f"{result['peak_mib']:,}",
                "-" if same is None else f"{100 * same:.3f} %",
                "-" if floor is None else f"{floor:.2f}",
            )
        )
    return found + [(name, "skipped", reason, "-", "-", "-") for name, reason in report["skipped"].items()]


def headline(report: Mapping[str, Any]) -> str:
    """A sentence on machine, setting and peaks."""
    machine, setting, best = report["machine"], report["setting"], report["peaks"]
    place = machine.get("card", {}).get("name") or machine["processor"]
    return (
        f"{report['net']}, {setting['mode']}, {setting['height']}x{setting['width']}, batch {setting['batch']}: "
        f"{report['gflop']:,.0f} GFLOP; {place} ({' '.join(machine['instruction_sets'])}), "
        f"{counted(machine['threads'], 'thread')}, torch {machine['versions']['torch']}; peak "
        f"{best['matrix']:,.0f} GFLOP/s matrix, {best['convolution']:,.0f} convolution, so "
        f"{report['floor_ms']:,.0f} ms is the floor of direct convolution"
    )
