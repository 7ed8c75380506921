"""Put a trained model into the package: float16 weights, scored as they are shipped, calibrated, and as int8 ONNX.

python scripts/bundle.py RUN/best camvid --data camvid:DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from refineseg.bundled import BUNDLED, INT8
from refineseg.cli.common import console, progress_bar, quiet_libraries
from refineseg.data import open_data
from refineseg.deploy.export import export
from refineseg.evaluation.calibration import calibrate
from refineseg.evaluation.evaluate import evaluate
from refineseg.inference.predictor import Segmenter
from refineseg.model.weights import ModelInfo, load_model_folder, save_model_folder


def main() -> None:
    """Write src/refineseg/weights/NAME."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("name")
    parser.add_argument("--data", required=True)
    parser.add_argument("--notes", type=Path, help="JSON of further lines for the card's provenance")
    given = parser.parse_args()
    quiet_libraries()
    data, folder = open_data(given.data), BUNDLED / given.name
    model, info = load_model_folder(given.model)
    notes = json.loads(given.notes.read_text()) if given.notes else {}
    info = dataclasses.replace(
        info,
        name=given.name,
        licence=f"weights Apache-2.0; training data: {data.licence}",
        provenance=info.provenance | notes,
        scores=(),
        calibration={},
    )
    save_model_folder(folder, model, info, half=True)
    shipped, info = load_model_folder(folder)  # what is scored is what is shipped
    with progress_bar() as bar:
        task = bar.add_task("scoring", total=None, note="")
        evaluation = evaluate(
            Segmenter(shipped, info, "cpu"),
            data,
            "val",
            measures=("boundary", "calibration"),
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    temperatures = calibrate(Segmenter(shipped, info, "cpu"), data, "val", per_class=True)
    scored: ModelInfo = dataclasses.replace(info, scores=(evaluation.for_card(),), calibration=temperatures)
    save_model_folder(folder, shipped, scored, half=True)
    export(folder, folder / INT8, int8=True, calibrate=data, overwrite=True)
    console.print(f"{folder.name}: val mean IoU {evaluation.scores.mean_iou:.4f}", markup=False)


if __name__ == "__main__":
    main()
