"""Trains in peace, and killed by SIGKILL at random moments and resumed each time; compares the two bit by bit.

python benchmarks/kill_resume.py [--kills 10] [--workers 0 2] [--seed 0] [--json FILE]

A kill comes at a random time after a random step of up to one epoch further on: while reading, in a step, while
validating, or while model folders, log and checkpoint are written. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
import csv
import dataclasses
import json
import multiprocessing
import os
from pathlib import Path
import random
import signal
import tempfile
import time
from typing import Any

import numpy as np
from PIL import Image
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import open_data
from refineseg.system.files import unfinished_in
from refineseg.training.checkpoint import checkpoints, load_checkpoint
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from refineseg.training.run import BEST, CHECKPOINTS, LAST
import torch

CONFIG = TrainConfig(
    fields={"width": 16, "coarse_width": 16},
    augment=AugmentConfig(crop=(32, 32)),
    batch_size=2,
    validate_every=1,
    lr=3e-3,
)
PHASES = ("starting", "reading", "train", "validating", "writing", "note", "start", "warning")
PER_EPOCH = 3  # steps
# Children are forked from a server that has all imports and no threads, so that they start at once.
SERVER = multiprocessing.get_context("forkserver")
PRELOADED = (
    *("matplotlib.backends.backend_agg", "refineseg.training.loop", "refineseg.data"),
    "tensorboard.compat.proto.event_pb2",
)
SERVER.set_forkserver_preload(list(PRELOADED))


@dataclasses.dataclass
class Trial:
    """One broken run.

    Attributes:
        workers: data loading processes.
        kills: phase and step of each.
        torn: kills that left something half-written.
        differences: from the run in peace; empty is what is hoped for.
    """

    workers: int
    kills: list[tuple[str, int]]
    torn: int
    differences: list[str]


def make_data(root: Path, pictures: int = 2 * PER_EPOCH + 2) -> str:
    """``folder:`` data of three classes made of noise and boxes; two pictures are for validation."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for index in range(pictures):
        mask = np.zeros((36, 48), np.uint8)
        mask[8:24, 4 + index : 24 + index] = 1
        mask[20:, 30:] = 2
        image = (mask[..., None] * (70, 90, 110) + rng.integers(0, 40, (36, 48, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"p{index}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{index}.png")
    (root / "labels.yaml").write_text("classes: [background, box, other]\n")
    names = [f"p{index}\n" for index in range(pictures)]
    (root / "train.txt").write_text("".join(names[:-2]))
    (root / "val.txt").write_text("".join(names[-2:]))
    return f"folder:{root}"


def train_here(config: TrainConfig, data: str, folder: Path, told: Any) -> None:
    """What a child does: begin or resume, and tell phase and step."""
    os.setsid()  # with its workers it can be killed as one
    torch.set_num_threads(1)

    def watch(report: TrainingEvent) -> None:
        scored = report.phase == "validating" and report.step == report.steps
        if report.phase in PHASES:
            told[0] = PHASES.index("writing" if scored else report.phase)
        if report.phase == "train":
            told[1] = report.step

    train(config, open_data(data), folder, resume=True, callbacks=[watch], device="cpu")


def start(config: TrainConfig, data: str, folder: Path) -> tuple[Any, Any]:
    """A child that trains, and what it tells."""
    told = SERVER.Array("i", 2)
    child = SERVER.Process(target=train_here, args=(config, data, folder, told))
    child.start()
    return child, told


def in_peace(config: TrainConfig, data: str, folder: Path) -> float:
    """Train to the end; seconds."""
    begun = time.perf_counter()
    child, _told = start(config, data, folder)
    child.join()
    if child.exitcode != 0:
        raise RuntimeError(f"expected the training in {folder} to end well, its exit code is {child.exitcode}")
    return time.perf_counter() - begun


def killed(
    config: TrainConfig, data: str, folder: Path, kills: int, epoch_seconds: float, draw: random.Random
) -> tuple[list[tuple[str, int]], int]:
    """Kill a training ``kills`` times and resume it each time: where the kills came, and how many tore files."""
    seen, torn = [], 0
    for _ in range(kills):
        saved = checkpoints(folder / CHECKPOINTS)
        done = int(saved[0].stem.rpartition("-")[2]) if saved else 0
        target = done + draw.randint(0, PER_EPOCH)
        child, told = start(config, data, folder)
        while told[1] < target > done and child.exitcode is None:
            time.sleep(0.001)
        time.sleep(draw.random() ** 2 * epoch_seconds)  # short ones too: most of this small epoch is writing
        if child.exitcode is not None:
            raise RuntimeError(
                f"the training ended with {child.exitcode} before it was killed: give it more steps"
            )
        seen.append((PHASES[told[0]], max(told[1], done)))
        kill(child.pid)
        child.join()
        torn += bool(unfinished_in(folder))
    in_peace(config, data, folder)
    return seen, torn


def kill(pid: int) -> None:
    """SIGKILL to a child and its workers."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has no group of its own yet
        os.kill(pid, signal.SIGKILL)


def differences(whole: Path, broken: Path) -> list[str]:
    """What a broken run has otherwise than the one in peace; times apart."""
    found = []
    states = [load_checkpoint(run / CHECKPOINTS)[0] for run in (whole, broken)]
    for state in states:
        state["config"].pop("workers")
        for name in ("seconds", "validated_seconds", "validation_seconds"):
            state["position"].pop(name)
        for row in state["log"]:
            row.pop("seconds")
    one, other = (dict(leaves(state)) for state in states)
    found += [
        f"checkpoint: {name}" for name in one.keys() | other.keys() if not same(one.get(name), other.get(name))
    ]
    for name in (BEST, LAST):
        contents = [(run / name / "model.safetensors").read_bytes() for run in (whole, broken)]
        found += [f"{name}/ differs"] * (contents[0] != contents[1])
    rows = [log_of(run) for run in (whole, broken)]
    found += ["metrics.csv differs"] * (rows[0] != rows[1])
    found += ["TensorBoard's scalars differ"] * (events_of(whole) != events_of(broken))
    files = [{path.relative_to(run) for path in run.rglob("*")} for run in (whole, broken)]
    return found + [f"only in one: {path}" for path in sorted(files[0] ^ files[1])]


def leaves(state: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested containers with their places."""
    if isinstance(state, dict | list | tuple):
        pairs = state.items() if isinstance(state, dict) else enumerate(state)
        for key, value in pairs:
            yield from leaves(value, f"{name}.{key}")
    else:
        yield name, state


def same(one: Any, other: Any) -> bool:
    """Bit-equal tensors, or equal values."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def log_of(run: Path) -> list[dict[str, str]]:
    """Lines of metrics.csv without their times."""
    with (run / "metrics.csv").open() as stream:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def events_of(run: Path) -> dict[str, list[tuple[int, float]]]:
    """TensorBoard's points as it shows them; empty without that package."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return {}
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(item.step, item.value) for item in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def trial(kills: int, workers: int, seed: int, folder: Path, config: TrainConfig = CONFIG) -> Trial:
    """Both runs in ``folder``, and what differs."""
    data = make_data(folder / "data")
    epochs = 3 * kills + 2  # a kill moves the run on by two epochs at most, or a little more on an uneven machine
    config = dataclasses.replace(config, epochs=epochs, workers=workers)
    seconds = in_peace(dataclasses.replace(config, workers=0), data, folder / "whole")
    seen, torn = killed(config, data, folder / "broken", kills, seconds / epochs, random.Random(seed))
    return Trial(workers, seen, torn, differences(folder / "whole", folder / "broken"))


def main() -> int:
    """Print where the kills came and what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    trials = []
    for workers in given.workers:
        with tempfile.TemporaryDirectory() as folder:
            trials.append(trial(given.kills, workers, given.seed, Path(folder)))
        last = trials[-1]
        phases = ", ".join(
            f"{count} {phase}" for phase, count in Counter(phase for phase, _ in last.kills).items()
        )
        print(
            f"{workers} workers: {len(last.kills)} kills ({phases}; {last.torn} with files half-written) at steps "
            f"{[step for _, step in last.kills]}"
        )
        print("  " + ("\n  ".join(last.differences) or "every bit as in the uninterrupted run"))
    if given.json:
        given.json.write_text(json.dumps([dataclasses.asdict(item) for item in trials], indent=1) + "\n")
    return int(any(item.differences for item in trials))


if __name__ == "__main__":
    raise SystemExit(main())
