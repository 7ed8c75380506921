"""The gain of each piece of the fast copy (refineseg.inference.fast): CPU time without it by that with all.

    python benchmarks/fast_ablation.py [--rounds 5] [--nets NAME ...] [--precisions 32 bf16] [--json FILE]

One thread, in one process and in turns: each round runs every variant once, beginning with another one. A ratio is
taken within a round, so that load from elsewhere meets both sides; the time is that of the thread alone
(time.thread_time). A piece that gains less than 5 % everywhere does not earn its code.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
import copy
import json
from pathlib import Path
from statistics import median
import time
from typing import Any
from unittest.mock import patch

from refineseg.bench.machine import describe_machine
from refineseg.bench.networks import random_network
from refineseg.inference.fast import fast_copy as fast
from refineseg.loading import load
from refineseg.model.refinenet import RefineNet
from refineseg.system.files import atomic_write
import torch
from torch import Tensor

SIZES = {"refinenet-r101": (512, 512), "refinenet-lw-r50": (512, 512), "everyday": (375, 500)}
TYPES = {"32": torch.float32, "bf16": torch.bfloat16}
FAST = "refineseg.inference.fast"
# What replaces a piece, by the name of the function that decides on it or does it.
Patches = dict[str, Any]
PIECES: dict[str, Patches] = {
    "batch norm folded": {f"{FAST}.fast_copy.fold_batch_norm": lambda _backbone: None},
    "channels last": {},
    "sum and activation fused": {f"{FAST}.convolution.can_fuse": lambda: False},
    "1x1 convolutions merged": {f"{FAST}.block._mergeable": lambda _part: False},
    "Winograd": {f"{FAST}.convolution.is_faster": lambda *_: False},
    "oneDNN's products": {f"{FAST}.matmul.by_onednn": lambda: False},
    "pooling in strips": {f"{FAST}.fast_copy.FastPooling": lambda chain, _scratch: chain},
    "sums within blocks": {f"{FAST}.fast_copy.FastBlock": lambda block, _parts, _pooling: block},
    "a MobileNet's blocks in strips": {f"{FAST}.mobilenet.STRIP_BYTES": 1 << 40},
}


@contextmanager
def without(patches: Patches) -> Iterator[None]:
    """The functions of ``patches`` replaced."""
    with ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(patch(name, value))
        yield


def network_of(name: str) -> RefineNet:
    """A bundled model's network, or a preset with random weights of 21 classes."""
    return load(name, device="cpu").model if name == "everyday" else random_network(name, 21)


def variants(name: str, dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
    """Ways to run the network: as it is, by the whole fast copy, and by copies without one piece."""
    model = network_of(name).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 3, *SIZES[name], generator=generator).contiguous(memory_format=torch.channels_last)
    return {"the network itself": lambda: itself(model, x, dtype)} | {
        piece: prepared(model, x, dtype, piece, patches) for piece, patches in ({"all": {}} | PIECES).items()
    }


def itself(model: RefineNet, x: Tensor, dtype: torch.dtype) -> Tensor:
    """As without the fast copy."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits: Tensor = model(x, upsample=False)
    return logits.float()


def prepared(
    model: RefineNet, x: Tensor, dtype: torch.dtype, piece: str, patches: Patches
) -> Callable[[], Tensor]:
    """A copy without ``piece``, ready to run."""
    first = piece == "channels last"  # that is, without it
    with without(patches):
        made = fast.specialise(
            copy.deepcopy(model).to(memory_format=torch.contiguous_format) if first else model, dtype
        )
    if first:
        made, x = made.to(memory_format=torch.contiguous_format), x.contiguous()

    def run() -> Tensor:
        with without(patches):
            logits: Tensor = made(x, upsample=False)
        return logits.float()

    return run


def measure(works: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, Any]:
    """CPU seconds of each by round, after one that does not count, and the difference of the logits."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    names, outputs = list(works), {}
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.thread_time()
            outputs[name] = works[name]()
            if number:
                seconds[name].append(time.thread_time() - start)
    base = outputs["all"]
    found: dict[str, Any] = {"all": {"milliseconds": round(1000 * median(seconds["all"]), 1)}}
    for name in names:
        if name != "all":
            ratios = [other / whole for other, whole in zip(seconds[name], seconds["all"], strict=True)]
            found[name] = {
                "ratio": [round(value, 3) for value in (median(ratios), min(ratios), max(ratios))],
                "difference": float((outputs[name] - base).norm() / base.norm()),
            }
    return found


def table(found: dict[str, Any]) -> str:
    """Markdown: a line per piece, a column per network and precision."""
    columns = list(found)
    lines = ["| without | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for piece in found[columns[0]]:
        cells = []
        for column in columns:
            entry = found[column][piece]
            if "ratio" in entry:
                middle, low, high = entry["ratio"]
                cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
            else:
                cells.append(f"{entry['milliseconds']:.0f} ms")
        lines.append(f"| {piece} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--precisions", nargs="+", choices=list(TYPES), default=list(TYPES))
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with torch.inference_mode():
        for name in given.nets:
            for precision in given.precisions:
                found[f"{name}, {precision}"] = measure(variants(name, TYPES[precision]), given.rounds)
                print(table(found), flush=True)
    if given.json:
        written = {"machine": describe_machine(torch.device("cpu")), "rounds": given.rounds, "ratios": found}
        atomic_write(given.json, json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
