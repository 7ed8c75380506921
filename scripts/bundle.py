"""Add a trained model to the package: float16 weights, scored as released, calibrated, and an int8 ONNX file.

    python scripts/bundle.py RUN/best people --data configs/people.yaml:DIR
    python scripts/bundle.py RUN/both camvid --data camvid:DIR --without-val RUN/alone

A model trained on ``val`` too cannot be scored there. ``--without-val`` names a copy trained without it, which is
scored and calibrated in its place and kept in runs/NAME-without-val, so that the scores can be reproduced.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from refineseg.cli.common import console, progress_bar, quiet_libraries
from refineseg.data import SegmentationData, open_data
from refineseg.deploy.export import export
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.measures.calibration import calibrate
from refineseg.inference.predictor import Segmenter
from refineseg.model.folders.find_model import BUNDLED, INT8
from refineseg.model.folders.model_folder import load_model_folder, save_model_folder


def main() -> None:
    """Write src/refineseg/weights/NAME."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", required=True)
    parser.add_argument("--notes", type=Path, help="JSON of further lines for the card's provenance")
    parser.add_argument("--without-val", type=Path, help="the copy to score in place of a model trained on val")
    given = parser.parse_args()
    quiet_libraries()
    data, folder = open_data(given.data), BUNDLED / given.name
    model, card = load_model_folder(given.model)
    notes = json.loads(given.notes.read_text()) if given.notes else {}
    card = dataclasses.replace(
        card,
        name=given.name,
        licence=f"weights Apache-2.0; training data: {data.licence}",
        provenance=card.provenance | notes,
        scores=(),
        calibration={},
    )
    save_model_folder(folder, model, card, half=True)
    judged = folder
    if given.without_val:
        judged = Path("runs") / f"{given.name}-without-val"
        copy, said = load_model_folder(given.without_val)
        said = dataclasses.replace(said, name=judged.name, licence=card.licence, scores=(), calibration={})
        save_model_folder(judged, copy, said, half=True)
    scores, temperatures = judge(judged, data)
    if given.without_val:
        save_model_folder(judged, copy, dataclasses.replace(said, scores=(scores,)), half=True)
        scores = scores | {"protocol": f"measured on a copy trained without val, {judged}; {scores['protocol']}"}
    shipped, card = load_model_folder(folder)
    before, after = temperatures["ece_before"], temperatures["ece_after"]
    if after >= before:  # on the half that they were not fitted on
        said = f"none: temperatures by class take the expected calibration error from {before:.4f} to {after:.4f}"
        temperatures, card = {}, dataclasses.replace(card, provenance=card.provenance | {"calibration": said})
    card = dataclasses.replace(card, scores=(scores,), calibration=temperatures)
    save_model_folder(folder, shipped, card, half=True)
    export(folder, folder / INT8, int8=True, calibrate=data, overwrite=True)
    console.print(f"{folder.name}: val mean IoU {scores['mean_iou']:.4f}")


def judge(folder: Path, data: SegmentationData) -> tuple[dict[str, Any], dict[str, Any]]:
    """The card's entry for ``val``, and temperatures fitted there, of a model folder as written to disk."""
    network, card = load_model_folder(folder)
    segmenter = Segmenter.from_network(network, card, "cpu")
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None, note="")
        evaluation = evaluate(
            segmenter,
            data,
            "val",
            measures=("boundary", "calibration"),
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    return evaluation.for_card(), calibrate(segmenter, data, "val", per_class=True)


if __name__ == "__main__":
    main()
