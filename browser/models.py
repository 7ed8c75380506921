"""Write the bundled models for the page: python browser/models.py FOLDER, then node browser/build.mjs FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import refineseg
from refineseg.colors import class_colors, is_background

MODELS = ("everyday", "people")


def write(model: str | Path | refineseg.Segmenter, name: str, folder: Path) -> None:
    """Write FOLDER/models/NAME.onnx, from pictures of uint8 to labels, and NAME.json: its classes and licence."""
    segmenter = model if isinstance(model, refineseg.Segmenter) else refineseg.load(model, device="cpu")
    path = folder / "models" / f"{name}.onnx"
    refineseg.export(segmenter, path, input="uint8", outputs="labels", overwrite=True)
    names = segmenter.class_names
    classes = [
        {"name": name, "color": color, "background": is_background(name)}
        for name, color in zip(names, class_colors(names), strict=True)
    ]
    about = {"classes": classes, "licence": segmenter.card.licence}
    path.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    for name in MODELS:
        write(name, name, Path(sys.argv[1]))
