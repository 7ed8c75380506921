"""Few pictures and little time: `refineseg train` with no option beside networks of segmentation_models_pytorch.

    python benchmarks/small_data.py camvid:DIR folder:facade --sizes 50 200 --seconds 240 --seeds 2 \
        --weights mobilenetv2_100_imagenet.safetensors -o benchmarks/results/small_data.jsonl
    python benchmarks/small_data.py --table -o benchmarks/results/small_data.jsonl

`ours` is the one command with every setting planned; settings may follow, as in `"ours model=everyday"`. A peer is
the usual short script around a network as built by default on MobileNet-v2 with the same ImageNet weights: AdamW,
a cosine, cross-entropy. It gets our augmentation, our plan's crop and bf16 where the machine has it, so that only
network and plan differ. All see the same pictures and train until their time is over, on one thread by default.
`--clock cpu` counts the process's processor time, so that other work takes nothing from anyone; `wall` is the
clock's. The last weights are scored on val, by one confusion matrix at single scale; ours also validates within
its time. Each result is a line of the output file; what is there already is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
import itertools
import json
import math
from pathlib import Path
import statistics
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from refineseg.config import IMAGENET_MEAN, IMAGENET_STD, AugmentConfig, ModelConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.data.batches.loader import Batches, TrainingPictures
from refineseg.evaluation.metrics import confusion_matrix, scores
from refineseg.model.folders.model_folder import read_config
from refineseg.system.memory import keep_freed_memory
from refineseg.training import loop, validation
from refineseg.training.planning import speed
from refineseg.training.planning.choose import choose_crop
from refineseg.training.planning.data_summary import measure_data
from refineseg.training.planning.plan import make_plan
from safetensors.torch import load_file
import torch
from torch import Tensor, nn
from torch.nn import functional as F

PEERS = ("Unet", "FPN", "DeepLabV3Plus", "UPerNet")
BATCH, RATE = 8, 1e-3
MULTIPLE = 32  # peers refuse other sizes
STAGES = (1, 2, 3, 4, 3, 3, 1)  # inverted residuals of MobileNet-v2


def few(data: SegmentationData, size: int, seed: int, score: int) -> SegmentationData:
    """The data with ``size`` training pictures drawn by the seed, and ``score`` pictures spread over val."""
    samples, val = data.split("train"), data.split("val")
    chosen = np.random.default_rng(seed).permutation(len(samples))[:size]
    places = np.unique(np.linspace(0, len(val) - 1, min(score, len(val))).round().astype(int))
    return replace(
        data, splits={"train": tuple(samples[i] for i in sorted(chosen)), "val": tuple(val[i] for i in places)}
    )


def ours(settings: list[str], data: SegmentationData, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The one command, without its terminal."""
    network = ModelConfig.read([name.removeprefix("model.") for name in settings if name.startswith("model.")])
    plain = [f"seed={seed}", f"minutes={given.seconds / 60}", *(s for s in settings if not s.startswith("model."))]
    config = replace(TrainConfig().override(plain), fields=network)
    explicit = {name.partition("=")[0] for name in plain} | {f"fields.{name}" for name in network}
    config = make_plan(data, config, explicit, "cpu").config
    config = replace(config, workers=0 if given.clock == "cpu" else config.workers)
    with tempfile.TemporaryDirectory() as folder:
        found = loop.train(config, data, Path(folder) / "run", device="cpu")
        steps = read_config(Path(folder) / "run" / "last")[1].provenance["steps"]
    return {"mean_iou": found.scores.mean_iou, "steps": steps, "start": config.model}


def peer(arm: str, data: SegmentationData, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The usual short script around a network of segmentation_models_pytorch."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(seed)
    network = getattr(smp, arm)("mobilenet_v2", encoder_weights=None, classes=data.label_map.num_classes)
    load_encoder(network.encoder, given.weights)
    machine, clock = speed.this_machine("cpu"), clock_of(given.clock)
    crop = choose_crop(measure_data(data), machine, 1.0).value
    pictures = TrainingPictures(data, "train", AugmentConfig(crop=tuple(crop), scale=(0.5, 2.0)), seed)
    pictures.prepare(cache_mb=4096)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    network.train().to(memory_format=torch.channels_last)
    start, steps = clock(), 0
    for batch in map(Batches(len(pictures), BATCH, seed).at, itertools.count()):
        gone = (clock() - start) / given.seconds
        if gone >= 1:
            break
        optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * gone)) / 2
        images, truth = (torch.stack(parts) for parts in zip(*(pictures[draw] for draw in batch), strict=True))
        with torch.autocast("cpu", torch.bfloat16, enabled=machine.bf16):
            logits = network(normalised(images))
        loss = F.cross_entropy(logits.float(), truth.long(), ignore_index=255)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        steps += 1
    return {"mean_iou": score(network, data), "steps": steps, "start": "ImageNet"}


def load_encoder(encoder: nn.Module, weights: Path) -> None:
    """Fill a peer's encoder with the same numbers that our backbone takes; every key must fit."""
    state = {name: value for key, value in load_file(weights).items() if (name := encoder_key(key)) is not None}
    missing, unexpected = nn.Module.load_state_dict(encoder, state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"the peers' encoder does not fit: missing {missing[:3]}, left over {unexpected[:3]}")


def encoder_key(key: str) -> str | None:
    """Our weight file's key (timm's MobileNet-v2) to torchvision's, which the peers' encoder has."""
    module, _, leaf = key.rpartition(".")
    ends = {"conv_stem": "0.0", "bn1": "0.1", "conv_head": "18.0", "bn2": "18.1"}
    if module in ends:
        return f"features.{ends[module]}.{leaf}"
    parts = module.split(".")
    if parts[0] != "blocks":
        return None
    stage, place, part = int(parts[1]), int(parts[2]), parts[3]
    index = 1 + sum(STAGES[:stage]) + place
    if stage == 0:  # no expansion
        names = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
    else:
        names = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}
    return f"features.{index}.conv.{names[part]}.{leaf}"


def normalised(images: Tensor) -> Tensor:
    """Bx3xHxW uint8 to what the encoder takes."""
    unit = images.float().contiguous(memory_format=torch.channels_last) / 255
    return (unit - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


@torch.inference_mode()
def score(network: nn.Module, data: SegmentationData) -> float:
    """Mean IoU on val in float32: whole pictures, padded to what the network takes; one confusion matrix."""
    network.eval()
    count = data.label_map.num_classes
    confusion = np.zeros((count, count), np.int64)
    for sample in data.split("val"):
        image, truth = data.read(sample)
        height, width = truth.shape
        whole = normalised(torch.from_numpy(image).permute(2, 0, 1)[None])
        padded = F.pad(whole, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        labels = network(padded)[0, :, :height, :width].argmax(0).numpy().astype(np.uint8)
        confusion += confusion_matrix(truth, labels, count)
    return scores(confusion).mean_iou


def clock_of(name: str) -> Callable[[], float]:
    """Seconds by the clock, or of the process's processors, each thread's share."""
    return time.perf_counter if name == "wall" else lambda: time.process_time() / torch.get_num_threads()


def show(rows: list[dict[str, Any]]) -> None:
    """A line for each set, size and arm: mean and deviation over the seeds, and how far ours is ahead in them."""
    grouped: dict[tuple[Any, ...], dict[str, dict[int, dict[str, Any]]]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("data", "size", "seconds", "precision"))
        grouped.setdefault(key, {}).setdefault(row["arm"], {})[row["seed"]] = row
    for key, arms in grouped.items():
        print("{}, {} pictures, {:g} seconds, precision {}".format(*key))
        ours = arms.get("ours", {})
        for arm, runs in arms.items():
            steps = statistics.mean(row["steps"] for row in runs.values())
            ahead = [ours[seed]["mean_iou"] - runs[seed]["mean_iou"] for seed in runs if seed in ours]
            print(f"  {arm:30} {spread([row['mean_iou'] for row in runs.values()])}, {steps:.0f} steps", end="")
            print(f"; ours is ahead by {spread(ahead)}" if ahead and arm != "ours" else "")


def spread(values: list[float]) -> str:
    """Mean, deviation and number."""
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation} ({len(values)})"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="NAME:ROOT")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200], help="training pictures")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["ours", *PEERS], help="ours[ SETTING=VALUE...] or a peer")
    parser.add_argument("--weights", type=Path, help="MobileNet-v2 with its last convolution, for the peers")
    parser.add_argument("--score", type=int, default=10**6, help="pictures of val, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="print the results and make no run")
    given = parser.parse_args()
    if given.weights is None and not given.table and set(given.arms) & set(PEERS):
        parser.error("the peers need --weights (the package's own file has no last convolution)")
    return given


def main() -> None:
    """Make the runs that are missing, and print the table."""
    given = parse()
    torch.set_num_threads(given.threads)
    keep_freed_memory()
    for module in (loop, validation, speed):  # of our training: all of its time is the arms' time
        vars(module)["time"] = SimpleNamespace(perf_counter=clock_of(given.clock))
    precision = "bf16" if speed.this_machine("cpu").bf16 else "32"
    for seed, size, name, arm in itertools.product(given.seeds, given.sizes, given.data, given.arms):
        data = few(open_data(name), size, seed, given.score)
        key = {"data": data.name, "size": size, "seed": seed, "arm": arm, "precision": precision}
        key |= {name: getattr(given, name) for name in ("seconds", "threads", "clock", "score")}
        if given.table or any(key.items() <= row.items() for row in read(given.output)):
            continue
        kind, *settings = arm.split()
        found = ours(settings, data, given, seed) if kind == "ours" else peer(kind, data, given, seed)
        with given.output.open("a") as file:
            file.write(json.dumps(key | found) + "\n")
        print(key | found, flush=True)
    show(read(given.output))


def read(results: Path) -> list[dict[str, Any]]:
    """The rows so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


if __name__ == "__main__":
    main()
