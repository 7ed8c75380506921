"""Few pictures and little time: `refineseg train` with no option beside segmentation_models_pytorch.

    python benchmarks/small_data.py camvid:DIR folder:facades --sizes 50 200 --minutes 10 --seeds 3 \
        --weights mobilenetv2_100_imagenet.safetensors
    python benchmarks/small_data.py --table

Ours is the one command, `--data` and `--minutes`, with every setting planned (`ours`), and the same with
`--model everyday` (`ours-everyday`), which the plan chooses by itself only where that knows half of the classes.
A peer is the usual short script: the network as built by default on MobileNet-v2 with the same ImageNet weights,
AdamW, a cosine, random crops and flips, cross-entropy. All see the same pictures, and train until their time is
over. With `--clock cpu` (the default) it is the process's processor time, so that other work on the machine
takes nothing from anyone; with `wall` it is the clock's. All are scored on val by one confusion matrix at single
scale; ours validates while it trains, within its time. Runs that are in the results are not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
import math
from pathlib import Path
import statistics
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from peers import MULTIPLE, load_encoder
from refineseg.config import TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.metrics import confusion_matrix, scores
from refineseg.labels import IGNORE
from refineseg.loading import load
from refineseg.model.folders.pretrained import IMAGENET_MEAN, IMAGENET_STD
from refineseg.system.files import atomic_write
from refineseg.training import loop, validation
from refineseg.training.planning import probe
from refineseg.training.planning.plan import make_plan
import torch
from torch import Tensor, nn
from torch.nn import functional as F

RESULTS = Path(__file__).parent / "results" / "small_data.json"
PEERS = ("Unet", "FPN", "DeepLabV3Plus", "UPerNet")
OURS: dict[str, dict[str, Any]] = {"ours": {}, "ours-everyday": {"model": "everyday"}}  # settings that are given
BATCH, CROP, RATE = 8, (320, 320), 1e-3


def few(data: SegmentationData, size: int, seed: int, every: int) -> SegmentationData:
    """The data with ``size`` training pictures drawn by the seed, and every n-th picture of val."""
    samples = data.split("train")
    chosen = np.random.default_rng(seed).permutation(len(samples))[:size]
    val = data.split("val")[::every]
    return replace(data, splits={"train": tuple(samples[place] for place in sorted(chosen)), "val": val})


def ours(arm: str, data: SegmentationData, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The one command, without its terminal."""
    settings = {"seed": seed, "minutes": given.minutes} | OURS[arm]
    config = make_plan(data, TrainConfig(**settings), set(settings), "cpu").config
    config = replace(config, workers=0 if given.clock == "cpu" else config.workers)
    with tempfile.TemporaryDirectory() as folder:
        loop.train(config, data, Path(folder) / "run", device="cpu")
        segmenter = load(str(Path(folder) / "run"), "cpu")
    found = evaluate(segmenter, data, "val")
    return {
        "mean_iou": found.scores.mean_iou,
        "steps": segmenter.card.provenance["steps"],
        "start": config.model,
        "cascade": segmenter.model.config.cascade,
    }


def peer(arm: str, data: SegmentationData, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The usual short script around a network of segmentation_models_pytorch."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(seed)
    rng, classes = np.random.default_rng(seed), data.label_map.num_classes
    network = getattr(smp, arm)("mobilenet_v2", encoder_weights=None, classes=classes)
    load_encoder(network.encoder, given.weights)
    pairs = [data.read(sample) for sample in data.split("train")]
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    clock, seconds, steps = clock_of(given.clock), 60 * given.minutes, 0
    start = clock()
    network.train()
    while (gone := (clock() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * gone)) / 2
        drawn = [crop(*pairs[place], rng) for place in rng.integers(0, len(pairs), BATCH)]
        images, labels = (np.stack(parts) for parts in zip(*drawn, strict=True))
        truth = torch.from_numpy(labels).long()
        loss = F.cross_entropy(network(normalised(images)), truth, ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return {"mean_iou": score(network, data), "steps": steps, "start": "ImageNet"}


def crop(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random crop, padded with void where the picture is smaller, mirrored half of the time."""
    down, right = (max(0, side - have) for side, have in zip(CROP, labels.shape, strict=True))
    image = np.pad(image, ((0, down), (0, right), (0, 0)))
    labels = np.pad(labels, ((0, down), (0, right)), constant_values=IGNORE)
    top, left = (int(rng.integers(0, have - side + 1)) for side, have in zip(CROP, labels.shape, strict=True))
    turn = -1 if rng.random() < 0.5 else 1
    place = (slice(top, top + CROP[0]), slice(left, left + CROP[1]))
    return np.ascontiguousarray(image[place][:, ::turn]), np.ascontiguousarray(labels[place][:, ::turn])


def normalised(images: np.ndarray) -> Tensor:
    """BxHxWx3 uint8 to what the encoder takes."""
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (tensor - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


@torch.inference_mode()
def score(network: nn.Module, data: SegmentationData) -> float:
    """Mean IoU on val: whole pictures, padded to what the network takes; one confusion matrix."""
    network.eval()
    count = data.label_map.num_classes
    confusion = np.zeros((count, count), np.int64)
    for sample in data.split("val"):
        image, truth = data.read(sample)
        height, width = truth.shape
        padded = F.pad(normalised(image[None]), (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        labels = network(padded)[0, :, :height, :width].argmax(0).numpy().astype(np.uint8)
        confusion += confusion_matrix(truth, labels, count)
    return scores(confusion).mean_iou


def clock_of(name: str) -> Any:
    """Seconds by the clock, or of the process's processors, each thread's share."""
    if name == "wall":
        return time.perf_counter
    return lambda: time.process_time() / torch.get_num_threads()


def show(rows: list[dict[str, Any]]) -> None:
    """A line for each set and size: the mean over the seeds of every arm."""
    arms = [*OURS, *PEERS]
    print(f"{'data':14}{'pictures':>9}{'minutes':>8}{'seeds':>6}" + "".join(f"{arm:>15}" for arm in arms))
    for data, size, minutes in dict.fromkeys((row["data"], row["size"], row["minutes"]) for row in rows):
        of = [row for row in rows if (row["data"], row["size"], row["minutes"]) == (data, size, minutes)]
        values = [[row["mean_iou"] for row in of if row["arm"] == arm] for arm in arms]
        cells = "".join(f"{statistics.mean(some):15.3f}" if some else f"{'-':>15}" for some in values)
        print(f"{data:14}{size:9}{minutes:8g}{max(map(len, values)):6}{cells}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="NAME:ROOT")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=[*OURS, *PEERS], choices=[*OURS, *PEERS])
    parser.add_argument("--weights", type=Path, help="of MobileNet-v2 with its last convolution, for the peers")
    parser.add_argument("--every", type=int, default=1, help="score every n-th picture of val")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results and make no run")
    return parser.parse_args()


def main() -> None:
    """Make the runs that are missing, and print the table."""
    given = parse()
    if given.weights is None and not given.table and set(given.arms) & set(PEERS):
        raise SystemExit("expected --weights for the peers (the package's own file has no last convolution)")
    rows: list[dict[str, Any]] = json.loads(given.output.read_text()) if given.output.exists() else []
    torch.set_num_threads(given.threads)
    for module in (loop, validation, probe):  # of our training: all of its time is the arms' time
        module.time = SimpleNamespace(perf_counter=clock_of(given.clock))
    planned = [(*key, arm) for key in keys(given) for arm in given.arms] if not given.table else []
    for name, size, seed, arm in planned:
        data = few(open_data(name), size, seed, given.every)
        how = {"minutes": given.minutes, "threads": given.threads, "clock": given.clock, "every": given.every}
        key = {"data": data.name, "size": size, "seed": seed, "arm": arm, **how}
        if any(key.items() <= row.items() for row in rows):
            continue
        found = ours(arm, data, given, seed) if arm in OURS else peer(arm, data, given, seed)
        rows.append(key | found)
        atomic_write(given.output, json.dumps(rows, indent=1) + "\n")
        print(f"{data.name}, {size} pictures, seed {seed}, {arm}: {found}", flush=True)
    show(rows)


def keys(given: argparse.Namespace) -> list[tuple[str, int, int]]:
    """Data, size and seed of every comparison, all data at the first seed before the second."""
    return [(name, size, seed) for seed in range(given.seeds) for name in given.data for size in given.sizes]


if __name__ == "__main__":
    main()
