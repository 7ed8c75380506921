"""CamVid with one drive left out of training: what a choice is worth on streets that were not driven.

    python benchmarks/drives.py NAME --data DIR --weights FILE --scales 1 1.5 --set steps=360 --set ...

CamVid's val is seven seconds of the drive 0016E5, most of which is in train, so that val flatters what learns that
drive by heart. Here all pictures of train and val but those of the drive ``--hold`` are trained on, and those of
it are scored, single scale, once for each of ``--scales``. Settings are those of ``refineseg train``. A row a run
in benchmarks/results/drives.json, by NAME, drive and seed; a row that is there is not made again. Time is the
process's own CPU seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
import json
from pathlib import Path
import shutil
import tempfile
import time
from typing import Any

import refineseg
from refineseg.cli.train_settings import build_config
from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.protocol import Protocol
from refineseg.system.files import atomic_write
from refineseg.training.custom import TrainingEvent
from refineseg.training.run import LAST


def without(data: SegmentationData, drive: str) -> SegmentationData:
    """The data set with all pictures of a drive as val, and all others as train."""
    pictures = data.split("train") + data.split("val")
    held = tuple(sample for sample in pictures if sample.stem.startswith(drive))
    if not held:
        raise SystemExit(f"expected a drive of CamVid such as 0006R0, got {drive!r}: no picture begins with it")
    left = tuple(sample for sample in pictures if sample not in held)
    return replace(data, splits={"train": left, "val": held})


def main() -> None:
    """One training, and its row."""
    here = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the arm, in the table")
    parser.add_argument("--data", type=Path, required=True, help="CamVid's folder")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of the backbone")
    parser.add_argument("--hold", default="0006R0", help="drive that is left out of training")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0], help="each is scored")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="as of refineseg train")
    parser.add_argument("--keep", type=Path, help="folder for the trained model")
    parser.add_argument("-o", "--output", type=Path, default=here / "benchmarks/results/drives.json")
    given = parser.parse_args()
    chosen: dict[str, Any] = {"backbone_weights": str(given.weights), "epochs": None, "steps": None}
    config, _ = build_config(None, "modern", chosen, None, given.settings)
    config = replace(config, validate_every=10_000)
    key = (given.name, given.hold, config.seed)
    if any((row["arm"], row["drive"], row["seed"]) == key for row in rows(given.output)):
        return
    data = without(refineseg.open_data(f"camvid:{given.data}"), given.hold)
    with tempfile.TemporaryDirectory() as work:
        start, steps = time.process_time(), 0

        def watch(report: TrainingEvent) -> None:
            nonlocal steps
            steps = report.step if report.phase == "train" else steps

        trained = replace(data, splits=dict(data.splits) | {"val": data.split("val")[:1]})
        refineseg.train(config, trained, Path(work) / "run", callbacks=[watch])
        seconds = time.process_time() - start
        model = Path(work) / "run" / LAST
        if given.keep:
            shutil.copytree(model, given.keep, dirs_exist_ok=True)
        segmenter = refineseg.load(model)
        for scale in given.scales:
            evaluation = refineseg.evaluate(segmenter, data, protocol=Protocol("single", (scale,)))
            row = {
                "arm": given.name,
                "drive": given.hold,
                "seed": config.seed,
                "scale": scale,
                "pictures": len(data.split("val")),
                "settings": given.settings,
                "steps": steps,
                "seconds": round(seconds, 1),
                "mean_iou": evaluation.scores.mean_iou,
                "pixel_accuracy": evaluation.scores.pixel_accuracy,
                "iou": evaluation.to_dict()["iou"],
            }
            print(json.dumps({name: value for name, value in row.items() if name != "iou"}), flush=True)
            given.output.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(given.output, json.dumps([*rows(given.output), row], indent=1) + "\n")


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of the finished runs."""
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else []


if __name__ == "__main__":
    main()
