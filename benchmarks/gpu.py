"""Figures of a GPU: speed and memory beside other networks, a resumed training, the cascade's arms.

    python benchmarks/gpu.py speed -o FILE.json [--seconds N]     images/s, peak memory, share of the card's peak
    python benchmarks/gpu.py resume -o FILE.json                  a training killed half-way and resumed
    python benchmarks/gpu.py arms -o FILE.json --data camvid:DIR  single, two and four blocks, all at once
    python benchmarks/gpu.py pack -o FOLDER --data DIR            CamVid with JPEGs, a quarter as large, to send

``--device cpu --small`` runs each on a processor in a minute, to see that it works. benchmarks/gpu.sh calls them.
What is known is in the file at any time, so that nothing is lost where time runs out. All in bf16 under autocast,
channels last; ``compiled`` is torch.compile. Pictures of 512x512, eight at a time. FLOPs are torch's own count,
two for a multiply-add; a training step counts as three forward passes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
import json
from pathlib import Path
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

from refineseg.bench.machine import describe_machine, peaks, wait_for
from refineseg.bench.networks import Setting, work_of
from refineseg.bench.peers import PEERS
from refineseg.model.presets import create_model
from refineseg.system.files import atomic_write
from safetensors.torch import load_file
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

OWN = ("refinenet-r101", "refinenet-lw-r101", "refinenet-lw-r50", "refinenet-lw-mbv2")
OTHERS = ("deeplabv3_resnet101", "deeplabv3plus", "fpn", "upernet")
CLASSES = 21
MEASURED = 1.0  # seconds for each figure
ARMS = ("single", "two", "four")
SPARE = 90.0  # seconds for starting the arms: imports, reading the pictures, measuring the plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=("speed", "resume", "arms", "pack"))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny pictures and two networks, to try it out")
    parser.add_argument(
        "--seconds", type=float, default=180, help="time for the speed table, or for the arms together"
    )
    parser.add_argument("--data", help="camvid:DIR, for the arms; DIR, to pack")
    given = parser.parse_args()
    if given.study == "pack":
        pack(Path(given.data), given.output)
        return
    studies: dict[str, Callable[[argparse.Namespace], dict[str, Any]]]
    studies = {"speed": speed, "resume": resume, "arms": arms}
    found = studies[given.study](given)
    write(given, found)
    print(json.dumps(found, indent=1))


def write(given: argparse.Namespace, found: dict[str, Any]) -> None:
    """Write what a study has found so far, beside the others of the file."""
    whole = json.loads(given.output.read_text(encoding="utf-8")) if given.output.exists() else {}
    whole |= {"machine": describe_machine(torch.device(given.device)), given.study: found}
    atomic_write(given.output, json.dumps(whole, indent=1) + "\n")


def pack(data: Path, folder: Path) -> None:
    """CamVid with its pictures as JPEGs of quality 90, under the names that the lists have."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for part in sorted(data.iterdir()):
        if part.is_file():
            shutil.copy(part, folder)
            continue
        (folder / part.name).mkdir(exist_ok=True)
        for path in sorted(part.iterdir()):
            if part.name.endswith("annot"):
                shutil.copy(path, folder / part.name)
            else:
                Image.open(path).convert("RGB").save(folder / part.name / path.name, "JPEG", quality=90)


# Speed and memory ----------------------------------------------------------------------------------------------


def speed(given: argparse.Namespace) -> dict[str, Any]:
    """Rows by network, use and form; what no time was left for is listed under ``left out``."""
    device = torch.device(given.device)
    size = (64, 96) if given.small else (512, 512)
    end = time.monotonic() + given.seconds
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    peak = peaks(device, torch.bfloat16)["matrix"] * 1e9
    found = {"matrix_tflops_bf16": peak / 1e12, "size": size, "rows": rows, "left out": left_out}
    for name, training, compiled in cases(given.small):
        title = f"{name}, {'training' if training else 'inference'}{', compiled' if compiled else ''}"
        if time.monotonic() > end:
            left_out.append(title)
            continue
        setting = Setting(size, 2 if given.small else 8, "bf16", CLASSES, training, device)
        try:
            rows.append({"case": title} | measured(name, setting, compiled, peak))
            print(json.dumps(rows[-1]), flush=True)
        except Exception as error:  # a network that does not run here must not end the table
            left_out.append(f"{title}: {type(error).__name__} {' '.join(str(error).split()):.100}")
        write(given, found)
    return found


def cases(small: bool) -> Iterator[tuple[str, bool, bool]]:
    """Network, whether it trains, whether it is compiled; the most telling first."""
    names = ("refinenet-lw-mbv2", "fpn") if small else (*OWN, *OTHERS)
    for compiled in (False,) if small else (False, True):
        for training in (False, True):
            for name in names:
                yield name, training, compiled


def measured(name: str, setting: Setting, compiled: bool, peak: float) -> dict[str, float]:
    """Images/s, peak MiB above the weights and share of the card's peak for one network."""
    net = network(name).to(setting.device).to(memory_format=torch.channels_last)
    net.train(setting.training)
    flops = flops_of(net, setting) * (3 if setting.training else 1)
    torch.compiler.reset()  # else the ninth network of a class is not compiled
    run: Any = torch.compile(net, dynamic=False) if compiled else net  # typed otherwise in each version of torch
    work = work_of(run, setting, setting.precision, True)
    for _ in range(3):
        work()
    cuda = setting.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    wait_for(setting.device)
    start, rounds = time.perf_counter(), 0
    while time.perf_counter() - start < MEASURED:
        work()
        rounds += 1
        wait_for(setting.device)
    seconds = (time.perf_counter() - start) / rounds
    found = {"images_per_second": setting.batch / seconds, "share_of_peak": flops / seconds / peak}
    if cuda:
        found["peak_mebibytes"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return {key: round(value, 4) for key, value in found.items()}


def network(name: str) -> nn.Module:
    """A preset of this package or a peer, with random weights."""
    torch.manual_seed(0)
    return PEERS[name](CLASSES) if name in PEERS else create_model(name, CLASSES)


def flops_of(net: nn.Module, setting: Setting) -> int:
    """Of a forward pass."""
    training = net.training
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(setting.pictures().float() / 255)
    net.train(training)
    return int(counter.get_total_flops())


# A resumed training --------------------------------------------------------------------------------------------


def resume(given: argparse.Namespace) -> dict[str, Any]:
    """Largest difference of the weights between a training run whole and one killed half-way and resumed."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        make_data(root / "data")
        whole, broken = root / "whole", root / "broken"
        train(root / "data", whole, given.device)
        train(root / "data", broken, given.device, kill_after="step-")
        train(root / "data", broken, given.device, "--resume")
        first, second = (load_file(run / "last" / "model.safetensors") for run in (whole, broken))
    far: dict[str, Tensor] = {key: (first[key].float() - second[key].float()).abs().max() for key in first}
    return {"largest_difference": float(max(far.values())), "weights": len(far)}


def train(data: Path, run: Path, device: str, *more: str, kill_after: str = "") -> None:
    """A small training in a process of its own; killed once a checkpoint of that name is there."""
    words = command(f"folder:{data}", run, device, "refinenet-lw-mbv2", crop="64", batch="4", workers="0")
    words += ["--epochs", "6", "--set", "backbone_weights=none", *more]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while kill_after and process.poll() is None:
        if list((run / "checkpoints").glob(f"{kill_after}*.sha256")):
            process.kill()
        time.sleep(0.05)
    if process.wait() != 0 and not kill_after:
        raise SystemExit(f"training failed: {' '.join(words)}")


def command(data: str, run: Path, device: str, model: str, **numbers: str) -> list[str]:
    """``refineseg train`` in this Python."""
    words = [sys.executable, "-m", "refineseg", "train", "--data", data, "-o", str(run), "--model", model]
    words += ["--device", device, "--precision", "bf16" if device == "cuda" else "32"]
    options = {"crop": "--crop", "batch": "--batch-size", "workers": "--workers"}
    return words + [word for name, value in numbers.items() for word in (options[name], value)]


def make_data(root: Path) -> None:
    """Bright squares on dark noise: 16 pairs to train on, 4 to validate on."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 4)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for index in range(count):
            picture = rng.integers(0, 80, (80, 96, 3), np.uint8)
            mask = np.zeros((80, 96), np.uint8)
            top, left = rng.integers(8, 40, 2)
            picture[top : top + 30, left : left + 30] += 120
            mask[top : top + 30, left : left + 30] = 1
            Image.fromarray(picture).save(root / "images" / split / f"{index}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"{index}.png")
    (root / "labels.yaml").write_text("classes: [ground, square]\n", encoding="utf-8")


# The cascade's arms --------------------------------------------------------------------------------------------


def arms(given: argparse.Namespace) -> dict[str, Any]:
    """Single, two and four blocks at 480x360 and width 256, at the same time on one card, each in a process."""
    end = time.monotonic() + given.seconds + SPARE
    with TemporaryDirectory() as folder:
        processes = {arm: start_arm(given, arm, Path(folder) / arm) for arm in ARMS}
        while True:
            running = [process for process in processes.values() if process.poll() is None]
            tables = {arm: Path(folder) / arm / "metrics.csv" for arm in ARMS}
            found = {
                arm: table.read_text(encoding="utf-8").splitlines() if table.exists() else []
                for arm, table in tables.items()
            }
            write(given, found)
            if not running:
                return found
            for process in running if time.monotonic() > end else ():
                process.kill()
            time.sleep(1)


def start_arm(given: argparse.Namespace, arm: str, run: Path) -> subprocess.Popen[bytes]:
    """A training in a process of its own, with its output in ARM.log beside the results."""
    crop = "32" if given.small else "360x480"
    words = command(given.data, run, given.device, "refinenet-r18", crop=crop, batch="8", workers="4")
    words += ["--set", f"model.cascade={arm}", "--set", "model.backbone=mobilenetv2_100"]
    words += ["--set", "backbone_weights=imagenet", "--minutes", f"{given.seconds / 60:.3f}"]
    with (given.output.parent / f"{arm}.log").open("wb") as log:
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    main()
