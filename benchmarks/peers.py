"""RefineNet beside peers at equal computing time.

    python benchmarks/peers.py --data configs/people.yaml:DIR --weights mobilenetv2_100_imagenet.safetensors \
        --seconds 3600 --seeds 3 --input-scale 0.5 -o peers-people.json

Each network has the same MobileNet-v2 with the same ImageNet weights, pictures, draws, loss, optimiser and
schedule, and trains on one thread until the process has used SECONDS of CPU time, reading and augmenting included:
CPU time and not the clock, so that other work on the machine takes nothing from anyone. Peers are those of
segmentation_models_pytorch, as built by default. A run that stands in the output file is not made again, so that
the comparison may be broken off at any time and go on later.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
import json
from pathlib import Path
import statistics
import time
from typing import Any, cast

import numpy as np
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.data.batches.loader import Batches, TrainingPictures
from refineseg.evaluation.metrics import confusion_matrix, scores
from refineseg.model import create_model
from refineseg.model.refinenet import RefineNet
from refineseg.model.resize import bilinear
from refineseg.system.files import atomic_write
from refineseg.system.memory import keep_freed_memory
from refineseg.training.losses import make_loss
from refineseg.training.optimizer import make_optimizer, rate
from refineseg.training.step import seed_step, to_input
from safetensors.torch import load_file
import torch
from torch import Tensor, nn
from torch.nn import functional as F

SCHEDULE = 10_000  # the rate follows the share of the time that has gone by, in as many parts
MULTIPLE = 32  # peers refuse other sizes


class Peer(nn.Module):
    """A network of segmentation_models_pytorch, as a RefineNet is called: RGB in [0, 1] of any size to logits.

    Its encoder is called ``backbones`` so that the optimiser gives it the backbone's rate.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, like: RefineNet, scale: float) -> None:
        super().__init__()
        self.backbones, self.decoder, self.head = network.encoder, network.decoder, network.segmentation_head
        self.register_buffer("mean", like.mean.clone(), persistent=False)
        self.register_buffer("std", like.std.clone(), persistent=False)
        self.scale = scale

    def forward(self, images: Tensor, upsample: bool = True) -> Tensor:
        """BxKxHxW, or the size of the picture that the encoder saw."""
        height, width = images.shape[-2:]
        seen = (round(height * self.scale), round(width * self.scale))
        x = bilinear((images - self.mean) / self.std, seen, align_corners=False)
        x = F.pad(x, (0, -seen[1] % MULTIPLE, 0, -seen[0] % MULTIPLE), mode="replicate")
        logits: Tensor = self.head(self.decoder(self.backbones(x)))[..., : seen[0], : seen[1]]
        return bilinear(logits, (height, width), align_corners=False) if upsample else logits


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


STAGES = (1, 2, 3, 4, 3, 3, 1)  # inverted residuals of MobileNet-v2


def load_encoder(encoder: nn.Module, weights: Path) -> None:
    """Fill a peer's encoder with the same numbers that our backbone takes; every key must fit."""
    state = {name: value for key, value in load_file(weights).items() if (name := encoder_key(key)) is not None}
    missing, unexpected = nn.Module.load_state_dict(encoder, state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise ValueError(f"expected the peers' encoder to fit, missing {missing[:3]}, left over {unexpected[:3]}")


def build(arm: str, classes: int, weights: Path, scale: float, width: int) -> nn.Module:
    """One of ARMS, its decoder at random."""
    ours = create_model(
        "refinenet-lw-mbv2",
        classes,
        weights,
        width=width,
        coarse_width=width,
        dropout=0.0,
        align_corners=True,
        exact_strides=True,
        input_scales=(scale,),
        cascade="single" if arm == SINGLE else "four",
    )
    if arm in ("refinenet", SINGLE):
        return ours
    import segmentation_models_pytorch as smp

    kinds = {"unet": smp.Unet, "deeplabv3plus": smp.DeepLabV3Plus, "fpn": smp.FPN}
    network = kinds[arm]("mobilenet_v2", encoder_weights=None, classes=classes)
    load_encoder(network.encoder, weights)
    return Peer(network, ours, scale)


SINGLE = "refinenet-single"  # the paper's variant with one block for all maps
ARMS = ("refinenet", SINGLE, "unet", "deeplabv3plus", "fpn")


@dataclass(frozen=True)
class Budget:
    """CPU seconds of the whole process that a run may take."""

    seconds: float
    clock: Callable[[], float] = time.process_time

    def spend(self, batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
        """(share of the budget gone, batch) until it is spent."""
        start = self.clock()
        for batch in batches:
            gone = (self.clock() - start) / self.seconds
            if gone >= 1:
                return
            yield gone, batch


def train(network: nn.Module, pictures: TrainingPictures, config: TrainConfig, budget: Budget) -> int:
    """Train until the budget is spent; returns the number of steps."""
    model = cast(RefineNet, network.train().to(memory_format=torch.channels_last))
    optimizer = make_optimizer(model, config)
    loss_of = make_loss(config, pictures.class_pixels.sum(0))
    batches = iter(Batches(len(pictures), config.batch_size, 10**6, seed=config.seed))
    drawn = ([pictures[draw] for draw in batch] for batch in batches)
    steps = 0
    for gone, pairs in budget.spend(drawn):
        seed_step(config.seed, steps, 0)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * rate(int(gone * SCHEDULE), SCHEDULE, config)
        images, labels = (torch.stack([pair[place] for pair in pairs]) for place in (0, 1))
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            logits = model(to_input(images, torch.device("cpu")), upsample=False)
        loss = loss_of(logits.float(), labels)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        steps += 1
    return steps


@torch.inference_mode()
def score(network: nn.Module, data: SegmentationData, every: int) -> dict[str, Any]:
    """Mean IoU on val at single scale: logits enlarged to the picture, the largest taken, one confusion matrix."""
    network.eval()
    names, seconds = data.label_map.names, 0.0
    confusion = np.zeros((len(names), len(names)), np.int64)
    samples = data.split("val")[::every]
    for sample in samples:
        image, truth = data.read(sample)
        start = time.process_time()
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
        labels = network(to_input(tensor, torch.device("cpu"))).argmax(1)[0].numpy().astype(np.uint8)
        seconds += time.process_time() - start
        confusion = confusion + confusion_matrix(truth, labels, len(names))
    found = scores(confusion)
    return {
        "mean_iou": found.mean_iou,
        "pixel_accuracy": found.pixel_accuracy,
        "iou": dict(zip(names, found.iou.tolist(), strict=True)),
        "pictures": len(samples),
        "cpu_seconds_per_picture": seconds / len(samples),
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By arm: mean and sample deviation of the mean IoU over the seeds, steps, parameters, time a picture."""
    rows = []
    for arm in dict.fromkeys(run["arm"] for run in runs):
        of = [run for run in runs if run["arm"] == arm]
        values = [run["mean_iou"] for run in of]
        rows.append(
            {
                "arm": arm,
                "seeds": len(of),
                "mean": statistics.mean(values),
                "spread": statistics.stdev(values) if len(values) > 1 else None,
                "steps": statistics.mean(run["steps"] for run in of),
                "parameters": of[0]["parameters"],
                "cpu_seconds_per_picture": statistics.mean(run["cpu_seconds_per_picture"] for run in of),
            }
        )
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """A table, best first."""
    print(
        f"{'network':15}{'seeds':>6}{'mean IoU':>10}{'spread':>8}{'steps':>7}{'parameters':>12}{'s/picture':>11}"
    )
    for row in sorted(rows, key=lambda row: -row["mean"]):
        spread = "-" if row["spread"] is None else f"{row['spread']:.4f}"
        figures = f"{row['mean']:10.4f}{spread:>8}{row['steps']:7.0f}{row['parameters']:12,}"
        print(f"{row['arm']:15}{row['seeds']:6}{figures}{row['cpu_seconds_per_picture']:11.3f}")


def settings(given: argparse.Namespace) -> dict[str, Any]:
    """What two runs must have in common to stand in one table."""
    left_out = ("data", "weights", "output", "arms", "seeds")
    return {name: value for name, value in vars(given).items() if name not in left_out} | {
        "weights": given.weights.name
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--crop", type=int, nargs=2, default=[360, 480])
    parser.add_argument("--scales", type=float, nargs=2, default=[0.5, 2.0])
    parser.add_argument("--input-scale", type=float, default=1.0, help="of what every network sees")
    parser.add_argument("--width", type=int, default=256, help="of RefineNet's decoder")
    parser.add_argument("--class-weights", type=float, default=0.3)
    parser.add_argument(
        "--precision", choices=("32", "bf16"), default="32", help="of training; scoring is in float32"
    )
    parser.add_argument("--every", type=int, default=1, help="score every n-th picture of val")
    return parser.parse_args()


def main() -> None:
    """Make the runs that are missing, one seed of every arm after the other, and print the table."""
    given = parse()
    torch.set_num_threads(1)
    keep_freed_memory()
    data = open_data(given.data)
    content: dict[str, Any] = {"data": data.name, "settings": settings(given), "runs": []}
    if given.output.exists():
        content = json.loads(given.output.read_text())
        if (content["data"], content["settings"]) != (data.name, settings(given)):
            raise SystemExit(f"{given.output} holds runs of other settings: {content['settings']}")
    done = {(run["arm"], run["seed"]) for run in content["runs"]}
    augment = AugmentConfig(crop=tuple(given.crop), scale=tuple(given.scales))
    pictures = TrainingPictures(data, "train", augment, 0)
    if len(done) < given.seeds * len(given.arms):
        pictures.prepare(cache_mb=4096)
    for seed, arm in ((seed, arm) for seed in range(given.seeds) for arm in given.arms):
        if (arm, seed) in done:
            continue
        pictures.seed = seed
        torch.manual_seed(seed)
        config = TrainConfig(
            batch_size=given.batch_size,
            lr=given.lr,
            seed=seed,
            class_weights=given.class_weights,
            ema=0.0,
            precision=given.precision,
        )
        network = build(arm, data.label_map.num_classes, given.weights, given.input_scale, given.width)
        steps = train(network, pictures, config, Budget(given.seconds))
        run = {"arm": arm, "seed": seed, "steps": steps}
        run["parameters"] = sum(value.numel() for value in network.parameters())
        content["runs"].append(run | score(network, data, given.every))
        atomic_write(given.output, json.dumps(content, indent=1) + "\n")
    print(f"{data.name}: {content['settings']}")
    show(summary(content["runs"]))


if __name__ == "__main__":
    main()
