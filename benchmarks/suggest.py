"""Suggested pictures against random ones: what `refineseg data suggest` is worth.

    python benchmarks/suggest.py camvid:DIR --seeds 2 -o suggest-camvid.json

For each seed: FIRST pictures at random are labelled and a first model is trained on them. Then MORE are added,
once those that the first model suggests and once at random, and each set trains the first model further, for the
same number of steps. One thread; steps and not minutes, so that other work on the machine changes nothing. Seeds
that are in the output file are not run again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
from pathlib import Path
import tempfile
import time
from typing import Any

import numpy as np
from refineseg import load
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.data.dataset import Sample
from refineseg.system.files import atomic_write
from refineseg.training.loop import train
from refineseg.training.suggest.picture_features import picture_features
from refineseg.training.suggest.selection import select_pictures
import torch

FIELDS = {"align_corners": False, "exact_strides": True, "dropout": 0.0, "cascade": "single"}
NETWORK = {**FIELDS, "width": 128, "coarse_width": 128}


def config_of(given: argparse.Namespace, seed: int) -> TrainConfig:
    """The settings of every run; the model is filled in."""
    return TrainConfig(
        fields=NETWORK | {"input_scales": [given.input_scale]},
        augment=AugmentConfig(crop=tuple(given.crop)),
        steps=given.steps,
        batch_size=4,
        class_weights=0.3,
        validate_every=10**6,
        workers=0,
        seed=seed,
    )


def mean_iou(config: TrainConfig, data: SegmentationData, pictures: list[Sample], run: Path) -> float:
    """Train on some pictures; the mean IoU of the last weights on val."""
    chosen = replace(data, splits={"train": tuple(pictures), "val": data.split("val")})
    return train(config, chosen, run, device="cpu").scores.mean_iou


def suggested(run: Path, known: list[Sample], pool: list[Sample], number: int) -> list[int]:
    """Places in the pool of the pictures that the model in ``run`` suggests."""
    segmenter = load(run / "last", "cpu")
    looks = [picture_features(segmenter, sample.image) for sample in [*known, *pool]]
    features, uncertainty = np.stack([look.feature for look in looks]), [look.uncertainty for look in looks]
    first = len(known)
    return [
        index
        for index, _ in select_pictures(features[first:], np.array(uncertainty[first:]), number, features[:first])
    ]


def one_seed(given: argparse.Namespace, data: SegmentationData, seed: int) -> dict[str, Any]:
    """The three trainings of one seed."""
    draw = np.random.default_rng(seed)
    samples = data.split("train")
    order = draw.permutation(len(samples))[: given.pool or None]
    known = [samples[place] for place in order[: given.first]]
    pool = [samples[place] for place in order[given.first :]]
    start, config = time.thread_time(), config_of(given, seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        first = mean_iou(config, data, known, root / "first")
        places = {
            "suggested": suggested(root / "first", known, pool, given.more),
            "random": draw.permutation(len(pool))[: given.more].tolist(),
        }
        further = replace(config, model=str(root / "first" / "last"), fields={}, lr=5e-4)
        scores = {
            arm: mean_iou(further, data, [*known, *(pool[place] for place in chosen)], root / arm)
            for arm, chosen in places.items()
        }
    return {"seed": seed, "first": first, **scores, "cpu_seconds": round(time.thread_time() - start)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=40, help="pictures that are labelled at first")
    parser.add_argument("--more", type=int, default=40, help="pictures that are added")
    parser.add_argument("--pool", type=int, default=0, help="train pictures of all; 0 takes every one")
    parser.add_argument("--every", type=int, default=1, help="score every n-th picture of val")
    parser.add_argument("--steps", type=int, default=300, help="of each training")
    parser.add_argument("--crop", type=int, nargs=2, default=[256, 352])
    parser.add_argument("--input-scale", type=float, default=1.0, help="of what the network sees")
    return parser.parse_args()


def main() -> None:
    """Make the seeds that are missing and print all."""
    given = parse()
    torch.set_num_threads(1)
    data = open_data(given.data)
    data = replace(data, splits={**data.splits, "val": data.split("val")[:: given.every]})
    settings = {name: value for name, value in vars(given).items() if name not in ("data", "output", "seeds")}
    content: dict[str, Any] = {"data": data.name, "settings": settings, "runs": []}
    if given.output.exists():
        content = json.loads(given.output.read_text())
        if (content["data"], content["settings"]) != (data.name, settings):
            raise SystemExit(f"{given.output} holds runs of other settings: {content['settings']}")
    for seed in range(len(content["runs"]), given.seeds):
        content["runs"].append(one_seed(given, data, seed))
        atomic_write(given.output, json.dumps(content, indent=1) + "\n")
    for run in content["runs"]:
        gain = 100 * (run["suggested"] - run["random"])
        print(
            f"seed {run['seed']}: {given.first} pictures {run['first']:.4f}, {given.first + given.more} suggested"
        )
        print(f"  {run['suggested']:.4f}, random {run['random']:.4f}: {gain:+.1f} points")


if __name__ == "__main__":
    main()
