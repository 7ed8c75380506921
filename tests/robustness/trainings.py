"""Interrupted runs that cannot go on, and trainings that diverge."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image

from refineseg.training.checkpoint import save_checkpoint
from tests.robustness.case import Case, good_data
from tests.robustness.models import Runs, replaced, without


def runs(trained: Path) -> Iterator[Case]:
    """Interrupted runs, for ``train --resume``; all of its checkpoints are spoilt alike."""

    def spoil(change: Callable[[dict[str, Any]], Any] | None = None, data: bytes | None = None) -> Any:
        def make(folder: Path) -> Path:
            run = folder / "run"
            shutil.copytree(trained, run)
            for path in sorted((run / "checkpoints").glob("*.pt")):
                if data is not None:
                    path.write_bytes(data)
                if change is not None:
                    state = torch.load(path, weights_only=True)
                    content = change(state)
                    save_checkpoint(path.parent, int(path.stem[5:]), state if content is None else content)
            return run

        return make

    keys = ("config", "model", "average", "optimizer", "position", "log")
    for key in keys:
        yield Case("run", f"without {key}", spoil(without(key)))
        for junk in (None, 3, list[Any](), {"a": 1}):
            harmless = (key, junk) in (("log", []), ("average", None))
            yield Case("run", f"{key} {junk}", spoil(replaced(key, junk)), harmless)
    yield Case("run", "a list", spoil(lambda s: [1, 2]))
    yield Case("run", "that runs a command", spoil(lambda s: s.update(hook=Runs())))
    yield Case("run", "torn", spoil(data=b"torn"))
    for name, text in (("empty", ""), ("another width", "fields: {width: 32}"), ("no YAML", "[")):

        def make(folder: Path, text: str = text) -> Path:
            run = folder / "run"
            shutil.copytree(trained, run)
            (run / "config.yaml").write_text(text)
            return run

        yield Case("run", f"config.yaml {name}", make)
    for name, change in CHANGES.items():
        yield Case("run", f"of data with {name}", with_data(trained, change))


def with_data(trained: Path, change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A run, and beside it its data set with one thing changed."""

    def make(folder: Path) -> Path:
        shutil.copytree(trained, folder / "run")
        change(good_data(folder / "data"))
        return folder / "run"

    return make


CHANGES: dict[str, Callable[[Path], object]] = {
    "a class renamed": lambda data: (data / "labels.yaml").write_text("classes: [background, box, thing]\n"),
    "a class more": lambda data: (data / "labels.yaml").write_text("classes: [background, box, other, new]\n"),
    "other classes": lambda data: (data / "labels.yaml").write_text("classes: [box, other, background]"),
    "a picture fewer": lambda data: (data / "train.txt").write_text("p0\n"),
    "another picture": lambda data: (data / "train.txt").write_text("p0\np2\n"),
    "pictures in another order": lambda data: (data / "train.txt").write_text("p1\np0\n"),
}


def diverging() -> Iterator[Case]:
    """Data sets and settings with which a loss or weight stops being finite."""
    yield Case("diverging", "rate of 1e6", lambda folder: good_data(folder / "data"))
    for name, value in (("infinities", np.inf), ("not numbers", np.nan), ("3e38", 3e38)):
        # Pixels that are no finite number count as pixels without data.
        yield Case("diverging", f"float TIFF of {name}", with_floats(value), harmless=not np.isfinite(value))


STATISTICS = """statistics:
  {dtype: float32, low: [0, 0, 0], high: [255, 255, 255],
   mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2], shown: [0, 1, 2]}
"""


def with_floats(value: float) -> Callable[[Path], Path]:
    """A data set of 32-bit TIFFs, of which one has a square of ``value``."""

    def make(folder: Path) -> Path:
        data = good_data(folder / "data")
        for path in sorted((data / "images").iterdir()):
            pixels = np.asarray(Image.open(path), np.float32)
            if path.stem == "p1":
                pixels[4:20, 4:20] = value
            tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="rgb")
            path.unlink()
        labels = data / "labels.yaml"
        labels.write_text(labels.read_text() + STATISTICS)
        return data

    return make
