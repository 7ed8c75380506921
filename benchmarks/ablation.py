"""The paper's claims and recipes on CamVid: every run is one training, and one row of JSON.

    python benchmarks/ablation.py cascade components multiscale recipes --data DIR --weights FILE
    python benchmarks/ablation.py claims --continue --data DIR --weights FILE

Studies: ``cascade`` (single, 2-cascaded, 4-cascaded, 4-cascaded 2-scale, and two of them with the coarser path
starting as the identity), ``components`` (no pooling chain, improved order, 2 stages, no RCUs; the base is the
4-cascaded network), ``multiscale`` (the base, seen at the paper's five scales) and ``recipes`` (the authors'
beside the modern one, for the same time). They are cut for two weak cores: pictures of a third of the size, narrow
decoder, few steps; ``--steps`` gives them more. ``claims`` is the question trained to the end: 240x180, width 64,
6,000 steps, with the validation scores along the way. Arms and sizes: ablation_arms.py.

Seeds go round the studies, so that what is broken off has as many of each arm. A finished run is not done again.
``--continue`` gives every run a process of its own and takes one that was broken off up where it was; it ends with
the row of an uninterrupted one. Seconds are the process's own CPU time, those of ``claims`` the clock's.
Tables and page: benchmarks/reproduction.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import csv
from dataclasses import dataclass, replace
import json
from pathlib import Path
import shutil
import subprocess
import sys
import time
from typing import Any

from ablation_arms import (
    BASE,
    CASCADE,
    CLAIM_RATES,
    CLAIM_SCALES,
    CLAIM_STEPS,
    CLAIMS,
    COMPONENTS,
    PAPER_SCALES,
    STEPS,
    Scale,
    cut,
    half,
    recipes,
    shrunk,
)
import refineseg
from refineseg.config import TrainConfig
from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.protocol import Protocol
from refineseg.model.presets import model_config, parameter_count
from refineseg.system.files import atomic_write
from refineseg.training.custom import TrainingEvent
from refineseg.training.run import LAST
import torch

RECIPE_SECONDS = 45.0  # of CPU time that each recipe gets
SCORES = ("mean_iou", "pixel_accuracy", "mean_class_accuracy")


@dataclass
class Bench:
    """One file of results, and what every run needs."""

    scale: Scale
    data: SegmentationData
    weights: Path
    work: Path
    output: Path
    arms: tuple[str, ...] = ()  # of the cascade and claims; all if empty
    resume: bool = False

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the finished runs."""
        return list(json.loads(self.output.read_text(encoding="utf-8"))["runs"]) if self.output.exists() else []

    def done(self, study: str, arm: str, seed: int) -> bool:
        """Whether this run's row is there."""
        return any((row["study"], row["arm"], row["seed"]) == (study, arm, seed) for row in self.rows())

    def add(self, row: dict[str, Any]) -> None:
        """Write a finished run's row."""
        print(json.dumps({key: value for key, value in row.items() if key not in ("iou", "curve")}), flush=True)
        head = {
            "scale": self.scale.name,
            "data": "camvid",
            "picture": [480 // self.scale.shrink, 360 // self.scale.shrink],
            "fields": self.scale.fields,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        self.output.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.output, json.dumps(head | {"runs": [*self.rows(), row]}, indent=1) + "\n")

    def config(self, recipe: TrainConfig, fields: dict[str, Any], seed: int) -> TrainConfig:
        """The recipe for one network."""
        fields = self.scale.fields | fields
        return replace(recipe, model="refinenet-r18", fields=fields, backbone_weights=str(self.weights), seed=seed)

    def train(self, study: str, arm: str, seed: int, recipe: TrainConfig, fields: dict[str, Any]) -> None:
        """One training, and its row."""
        if self.done(study, arm, seed):
            return
        config, folder = self.config(recipe, fields, seed), self.folder(study, arm, seed)
        resume = self.resume and folder.exists()
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
        watch, curve = Stopwatch(), Curve(folder, self.data)
        if study == "claims":
            curve.catch_up()
        evaluation = refineseg.train(
            config, self.data, folder, resume=resume, callbacks=[watch, curve] if study == "claims" else [watch]
        )
        shutil.rmtree(folder / "checkpoints")
        shape = model_config(config.model, self.data.label_map.num_classes, **config.fields)
        steps = evaluation_steps(folder)
        row = {
            "study": study,
            "arm": arm,
            "seed": seed,
            "parameters": parameter_count(shape),
            "steps": steps,
            "pictures": steps * config.batch_size,
            **figures(evaluation),
            "iou": evaluation.to_dict()["iou"],
            "fields": fields,
        }
        if study == "claims":
            several = refineseg.evaluate(
                refineseg.load(folder / LAST), self.data, protocol=Protocol("custom", CLAIM_SCALES)
            )
            row |= curve.row() | {"several_scales": {"scales": CLAIM_SCALES, **figures(several)}}
        else:
            row |= {"seconds": round(watch.seconds, 1), "loss": round(watch.loss, 4)}
        self.add(row)

    def folder(self, study: str, arm: str, seed: int) -> Path:
        """Where a run lies."""
        return self.work / self.scale.name / study / arm.replace(" ", "-") / f"seed-{seed}"

    def cascade(self, seed: int) -> None:
        """The paper's four variants, and what their order depends on."""
        for arm, fields in CASCADE.items():
            if not self.arms or arm in self.arms:
                self.train("cascade", arm, seed, self.scale.recipe, fields)

    def claims(self, seed: int) -> None:
        """Depth, scales, pooling and initialisation, trained to the end."""
        for arm, fields in CLAIMS.items():
            if not self.arms or arm in self.arms:
                rates = {} if fields.get("cascade") == "single" else CLAIM_RATES
                self.train("claims", arm, seed, replace(self.scale.recipe, lr_multipliers=rates), fields)

    def components(self, seed: int) -> None:
        """The block's parts, one changed at a time. The base is a run of the cascade study."""
        for arm, fields in COMPONENTS.items():
            self.train("cascade" if arm == BASE else "components", arm, seed, self.scale.recipe, fields)

    def multiscale(self, seed: int) -> None:
        """The base network, evaluated as the authors do."""
        study, arm = "multiscale", "five scales"
        self.train("cascade", BASE, seed, self.scale.recipe, {})
        if self.done(study, arm, seed):
            return
        segmenter = refineseg.load(self.folder("cascade", BASE, seed) / LAST)
        start = time.process_time()
        evaluation = refineseg.evaluate(segmenter, self.data, protocol=Protocol("paper", PAPER_SCALES))
        row = {"study": study, "arm": arm, "seed": seed, "scales": PAPER_SCALES}
        self.add(row | {"seconds": round(time.process_time() - start, 1), **figures(evaluation)})

    def recipes(self, seed: int) -> None:
        """The authors' recipe and the modern one: as many steps of each as the time allows."""
        for arm, recipe in recipes().items():
            if not self.done("recipes", arm, seed):
                self.train("recipes", arm, seed, replace(recipe, steps=self.steps_of(recipe)), {})

    def steps_of(self, recipe: TrainConfig) -> int:
        """How many steps fit in the time, by a short trial of the recipe on one validation picture."""
        short = replace(self.data, splits=dict(self.data.splits) | {"val": self.data.split("val")[:1]})
        folder = self.work / self.scale.name / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        steps = 12 if recipe.batch_size > 1 else 60
        watch = Stopwatch()
        refineseg.train(replace(self.config(recipe, {}, 0), steps=steps), short, folder, callbacks=[watch])
        shutil.rmtree(folder)
        return max(1, round(RECIPE_SECONDS / (watch.seconds / steps)))


def figures(evaluation: Any) -> dict[str, float]:
    """The scores of a row."""
    return {name: getattr(evaluation.scores, name) for name in SCORES}


def metrics(folder: Path) -> list[dict[str, str]]:
    """The lines of a run's metrics.csv."""
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def evaluation_steps(folder: Path) -> int:
    """How many steps a run took."""
    return int(metrics(folder)[-1]["step"])


class Stopwatch:
    """Watches a training: the CPU seconds of its steps, and the last losses."""

    def __init__(self) -> None:
        self.start, self.seconds, self.loss = 0.0, 0.0, 0.0

    def __call__(self, report: TrainingEvent) -> None:
        if report.phase == "reading":
            self.start = time.process_time()
        elif report.phase == "train":
            self.seconds = time.process_time() - self.start
            self.loss = report.loss if report.step == 1 else 0.95 * self.loss + 0.05 * report.loss


class Curve:
    """Scores against steps of a run: those of its metrics.csv, and the boundary IoU beside each.

    Both are on the disk, so that a run that is broken off and taken up has the curve of an uninterrupted one.
    """

    def __init__(self, folder: Path, data: SegmentationData) -> None:
        self.folder, self.data = folder, data
        self.file = folder / "boundary.json"

    def __call__(self, report: TrainingEvent) -> None:
        if report.phase == "epoch" and report.row is not None and report.row.get("mean_iou") is not None:
            self.measure(report.step)

    def catch_up(self) -> None:
        """Measure the newest validated weights, where the run was killed before it came to that."""
        rows = validated(self.folder) if (self.folder / "metrics.csv").exists() else []
        if rows and rows[-1]["step"] not in self.measured():
            self.measure(int(rows[-1]["step"]))

    def measured(self) -> dict[str, float]:
        """Boundary IoU by step."""
        return dict(json.loads(self.file.read_text(encoding="utf-8"))) if self.file.exists() else {}

    def measure(self, step: int) -> None:
        """Score the boundaries of the last weights."""
        found = refineseg.evaluate(refineseg.load(self.folder / LAST), self.data, measures=("boundary",)).to_dict()
        atomic_write(self.file, json.dumps(self.measured() | {str(step): found["boundary"]["mean_boundary_iou"]}))

    def row(self) -> dict[str, Any]:
        """The run's seconds by the clock, its last loss, and the curve."""
        boundary, rows = self.measured(), validated(self.folder)
        curve = [
            {"step": int(line["step"])}
            | {name: float(line[name]) for name in SCORES}
            | {"boundary_iou": boundary[line["step"]]}
            for line in rows
        ]
        last = rows[-1]
        return {"seconds": float(last["seconds"]), "loss": round(float(last["loss"]), 4), "curve": curve}


def validated(folder: Path) -> list[dict[str, str]]:
    """The lines of metrics.csv that have scores."""
    return [line for line in metrics(folder) if line["mean_iou"]]


STUDIES: dict[str, Callable[[Bench, int], None]] = {
    "cascade": Bench.cascade,
    "components": Bench.components,
    "multiscale": Bench.multiscale,
    "recipes": Bench.recipes,
    "claims": Bench.claims,
}


def main() -> None:
    """Run what is not done yet of the studies, one after the other."""
    here = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=STUDIES)
    parser.add_argument("--data", type=Path, default=here / "../shared/data/camvid", help="CamVid's folder")
    weights = here / "../shared/weights/mobilenetv2_100_imagenet.safetensors"
    parser.add_argument("--weights", type=Path, default=weights, help="ImageNet weights of the backbone")
    arms = {**CASCADE, **CLAIMS}
    parser.add_argument("--arms", nargs="+", default=[], choices=arms, help="of cascade and claims; default: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="steps of a run; other numbers have a file of their own")
    parser.add_argument(
        "--continue", dest="resume", action="store_true", help="claims: take broken runs up; a process for each"
    )
    parser.add_argument("--work", type=Path, default=here / "runs/ablation", help="folder for the runs")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of the rows")
    options = parser.parse_args()
    claims = "claims" in options.studies
    if (claims and options.studies != ["claims"]) or (options.resume and not claims):
        parser.error(
            "expected claims by itself, since its pictures have another size, and --continue with it alone"
        )
    if options.resume and (len(options.arms) != 1 or len(options.seeds) != 1):
        for seed in options.seeds:
            for arm in options.arms or CLAIMS:
                # Of an option that is given twice, argparse takes the last.
                command = [sys.executable, *sys.argv, "--arms", arm, "--seeds", str(seed)]
                if subprocess.run(command, check=False).returncode:
                    raise SystemExit(
                        f"{arm}, seed {seed} ended with an error; the same command goes on from there"
                    )
        return
    scale = half(options.steps or CLAIM_STEPS) if claims else cut(options.steps or STEPS)
    data = shrunk(refineseg.open_data(f"camvid:{options.data}"), scale.shrink)
    output = options.output or here / f"benchmarks/results/ablation_{scale.name}.json"
    bench = Bench(scale, data, options.weights, options.work, output, tuple(options.arms), options.resume)
    for seed in options.seeds:
        for study in options.studies:
            STUDIES[study](bench, seed)


if __name__ == "__main__":
    main()
