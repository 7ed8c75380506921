"""The paper's ablations and recipes on CamVid: every run is one call of ``refineseg.train``, and one row of JSON.

    python benchmarks/ablation.py cascade components multiscale recipes --data DIR --weights FILE

Studies: ``cascade`` (single, 2-cascaded, 4-cascaded, 4-cascaded 2-scale, and two of them with the coarser path
starting as the identity), ``components`` (no pooling chain,
improved order, 2 stages, no RCUs; the 4-cascaded network is their base), ``multiscale`` (the base, seen at the
paper's five scales) and ``recipes`` (the authors' beside the modern one, for the same time).

Seeds go round the studies, so that what is broken off has as many of each arm. A finished run is not done again.
The default is cut for two weak cores: pictures of a third of the size, narrow decoder, few steps; ``--steps``
gives them more. ``--full`` is for a GPU: whole pictures, published widths, 100 epochs. Time is the process's own
CPU time (the machine may be shared), and the clock's with ``--full``. Tables and page: benchmarks/reproduction.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
import json
from pathlib import Path
import shutil
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
import refineseg
from refineseg.config import AugmentConfig, TrainConfig, paper_recipe
from refineseg.data.images import read_image, read_mask
from refineseg.data.source import SegmentationData
from refineseg.evaluation.protocol import Protocol
from refineseg.model.presets import model_config, parameter_count
from refineseg.system.files import atomic_write
from refineseg.training.custom import TrainingEvent
from refineseg.training.run import LAST
import torch

PAPER_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2)
BASE = "four"
CASCADE: dict[str, dict[str, Any]] = {
    "single": {"cascade": "single"},
    "two": {"cascade": "two"},
    BASE: {},
    "four 2-scale": {"input_scales": [1.2, 0.6]},
    "two, identity": {"cascade": "two", "init": "identity"},
    "four, identity": {"init": "identity"},
}
COMPONENTS: dict[str, dict[str, Any]] = {
    BASE: {},
    "no pooling": {"crp_stages": 0},
    "improved": {"pooling": "improved"},
    "2 stages": {"crp_stages": 2},
    "no RCUs": {"rcus": 0, "output_rcus": 0},
}
Clock = Callable[[], float]
STEPS = 400  # of a cut run


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        name: ``cut`` or ``full``.
        shrink: pictures and masks are this many times smaller.
        fields: of the network.
        recipe: of the ablations.
        modern, paper: the two recipes.
        seconds: of training that each recipe gets.
        clock: what the seconds are of.
    """

    name: str
    shrink: int
    fields: dict[str, Any]
    recipe: TrainConfig
    modern: TrainConfig
    paper: TrainConfig
    seconds: float
    clock: Clock


def cut(steps: int = STEPS) -> Scale:
    """About a minute a run on one slow core, in STEPS steps. Two of the authors' settings are brought to the size.

    Crop 133 of pictures of a third of the size is their 400; N(0, 0.01) is a standard deviation for 256 channels
    (torch's own initialisation has 0.012 there), so that narrow decoders take torch's.
    """
    recipe = TrainConfig(
        augment=AugmentConfig(crop=(96, 128), scale=(0.75, 1.5)),
        batch_size=4,
        steps=steps,
        freeze_batch_norm=True,
        ema=0.99,
        workers=0,
        validate_every=10_000,
    )
    modern = replace(recipe, augment=AugmentConfig(crop=(120, 160)), batch_size=8, freeze_batch_norm=False)
    authors = paper_recipe()
    paper = replace(
        authors,
        augment=replace(authors.augment, crop=(133, 133), short_edge=(150, 366)),
        workers=0,
        validate_every=10_000,
    )
    fields = {"backbone": "mobilenetv2_100", "width": 32, "coarse_width": 64, "init": "default", "dropout": 0.0}
    name = "cut" if steps == STEPS else f"cut_{steps}"
    return Scale(name, 3, fields, recipe, modern, paper, 45.0, time.process_time)


def full() -> Scale:
    """Whole pictures, published widths and initialisation, 100 epochs; for a GPU."""
    recipe = TrainConfig(freeze_batch_norm=True, epochs=100, workers=4, validate_every=10_000)
    modern = replace(recipe, freeze_batch_norm=False)
    paper = replace(paper_recipe(), workers=4, validate_every=10_000)
    fields = {"backbone": "mobilenetv2_100"}
    return Scale("full", 1, fields, recipe, modern, paper, 3600.0, time.perf_counter)


def shrunk(data: SegmentationData, factor: int) -> SegmentationData:
    """The data set with pictures and masks ``factor`` times smaller: box-averaged, and by nearest neighbour."""
    if factor == 1:
        return data

    def whole_blocks(pixels: NDArray[Any]) -> NDArray[Any]:
        height, width = (side // factor * factor for side in pixels.shape[:2])
        return np.ascontiguousarray(pixels[:height, :width])

    def picture(path: Path) -> NDArray[np.uint8]:
        return np.array(Image.fromarray(whole_blocks(read_image(path))).reduce(factor))

    def mask(path: Path) -> NDArray[Any]:
        return whole_blocks(read_mask(path))[factor // 2 :: factor, factor // 2 :: factor].copy()

    return replace(data, read_picture=picture, read_raw=mask)


@dataclass
class Bench:
    """One file of results, and what every run needs."""

    scale: Scale
    data: SegmentationData
    weights: Path
    work: Path
    output: Path
    arms: tuple[str, ...] = ()  # of the cascade study; all if empty

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the finished runs."""
        return list(json.loads(self.output.read_text(encoding="utf-8"))["runs"]) if self.output.exists() else []

    def done(self, study: str, arm: str, seed: int) -> bool:
        """Whether this run's row is there."""
        return any((row["study"], row["arm"], row["seed"]) == (study, arm, seed) for row in self.rows())

    def add(self, row: dict[str, Any]) -> None:
        """Write a finished run's row."""
        print(json.dumps({key: value for key, value in row.items() if key != "iou"}), flush=True)
        head = {
            "scale": self.scale.name,
            "data": "camvid",
            "picture": [480 // self.scale.shrink, 360 // self.scale.shrink],
            "fields": self.scale.fields,
            "clock": "process CPU seconds" if self.scale.clock is time.process_time else "seconds of the clock",
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        self.output.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(self.output, json.dumps(head | {"runs": [*self.rows(), row]}, indent=1) + "\n")

    def train(self, study: str, arm: str, seed: int, recipe: TrainConfig, fields: dict[str, Any]) -> None:
        """One training, and its row."""
        if self.done(study, arm, seed):
            return
        config = replace(
            recipe,
            model="refinenet-r18",
            fields=self.scale.fields | fields,
            backbone_weights=str(self.weights),
            seed=seed,
        )
        folder = self.folder(study, arm, seed)
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was broken off
        watch = Stopwatch(self.scale.clock)
        evaluation = refineseg.train(config, self.data, folder, callbacks=[watch])
        shutil.rmtree(folder / "checkpoints")
        shape = model_config(config.model, self.data.label_map.num_classes, **config.fields)
        self.add(
            {
                "study": study,
                "arm": arm,
                "seed": seed,
                "parameters": parameter_count(shape),
                "steps": watch.steps,
                "pictures": watch.steps * config.batch_size,
                "seconds": round(watch.seconds, 1),
                "loss": round(watch.loss, 4),
                "mean_iou": evaluation.scores.mean_iou,
                "pixel_accuracy": evaluation.scores.pixel_accuracy,
                "mean_class_accuracy": evaluation.scores.mean_class_accuracy,
                "iou": evaluation.to_dict()["iou"],
                "fields": fields,
            }
        )

    def folder(self, study: str, arm: str, seed: int) -> Path:
        """Where a run lies."""
        return self.work / self.scale.name / study / arm.replace(" ", "-") / f"seed-{seed}"

    def cascade(self, seed: int) -> None:
        """The paper's four variants, and what their order depends on."""
        for arm, fields in CASCADE.items():
            if self.arms and arm not in self.arms:
                continue
            self.train("cascade", arm, seed, self.scale.recipe, fields)

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
        start = self.scale.clock()
        scores = refineseg.evaluate(segmenter, self.data, protocol=Protocol("paper", PAPER_SCALES)).scores
        self.add(
            {
                "study": study,
                "arm": arm,
                "seed": seed,
                "scales": PAPER_SCALES,
                "seconds": round(self.scale.clock() - start, 1),
                "mean_iou": scores.mean_iou,
                "pixel_accuracy": scores.pixel_accuracy,
                "mean_class_accuracy": scores.mean_class_accuracy,
            }
        )

    def recipes(self, seed: int) -> None:
        """The authors' recipe and the modern one: as many steps of each as the time allows."""
        for arm, recipe in (("authors", self.scale.paper), ("modern", self.scale.modern)):
            if not self.done("recipes", arm, seed):
                self.train("recipes", arm, seed, replace(recipe, steps=self.steps_of(recipe)), {})

    def steps_of(self, recipe: TrainConfig) -> int:
        """How many steps fit in the time, by a short trial of the recipe on one validation picture."""
        short = replace(self.data, splits=dict(self.data.splits) | {"val": self.data.split("val")[:1]})
        folder = self.work / self.scale.name / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        config = replace(
            recipe,
            steps=12 if recipe.batch_size > 1 else 60,
            model="refinenet-r18",
            fields=self.scale.fields,
            backbone_weights=str(self.weights),
        )
        watch = Stopwatch(self.scale.clock)
        refineseg.train(config, short, folder, callbacks=[watch])
        shutil.rmtree(folder)
        return max(1, round(self.scale.seconds / (watch.seconds / watch.steps)))


class Stopwatch:
    """Watches a training: how many steps it took, the time they took, and the last losses."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.start = clock, 0.0
        self.steps, self.seconds, self.loss = 0, 0.0, 0.0

    def __call__(self, report: TrainingEvent) -> None:
        if report.phase == "reading":
            self.start = self.clock()
        elif report.phase == "train":
            self.steps, self.seconds = report.step, self.clock() - self.start
            self.loss = report.loss if report.step == 1 else 0.95 * self.loss + 0.05 * report.loss


STUDIES: dict[str, Callable[[Bench, int], None]] = {
    "cascade": Bench.cascade,
    "components": Bench.components,
    "multiscale": Bench.multiscale,
    "recipes": Bench.recipes,
}


def main() -> None:
    """Run what is not done yet of the studies, one after the other."""
    here = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", choices=STUDIES)
    parser.add_argument("--data", type=Path, default=here / "../shared/data/camvid", help="CamVid's folder")
    weights = here / "../shared/weights/mobilenetv2_100_imagenet.safetensors"
    parser.add_argument("--weights", type=Path, default=weights, help="ImageNet weights of the backbone")
    parser.add_argument("--arms", nargs="+", default=[], choices=CASCADE, help="of the cascade; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=STEPS, help="of the cut ablations; others have a file of their own"
    )
    parser.add_argument("--full", action="store_true", help="the uncut versions, for a GPU")
    parser.add_argument("--work", type=Path, default=here / "runs/ablation", help="folder for the runs")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of the rows")
    options = parser.parse_args()
    scale = full() if options.full else cut(options.steps)
    data = shrunk(refineseg.open_data(f"camvid:{options.data}"), scale.shrink)
    output = options.output or here / f"benchmarks/results/ablation_{scale.name}.json"
    bench = Bench(scale, data, options.weights, options.work, output, tuple(options.arms))
    for seed in range(options.seeds):
        for study in options.studies:
            STUDIES[study](bench, seed)


if __name__ == "__main__":
    main()
