"""Files of any size: predicted in windows, written strip by strip, resumed where an interrupted run stopped.

While a picture is in work its results lie in OUT/.NAME.part, with state.json beside them: the rows that are done,
and a key of everything that they depend on. A later run with the same key goes on; with another it begins anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.channels import visible
from refineseg.data.pictures.opening import open_picture
from refineseg.data.pictures.picture import Picture
from refineseg.data.pictures.raster import Raster
from refineseg.errors import InputError
from refineseg.inference.options import PredictOptions
from refineseg.inference.outputs.png import write_png
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import SCORED, VECTORS, Result, save_vectors, uncertainty
from refineseg.inference.tiles.blending import Plan
from refineseg.inference.tiles.tiff import write_index_tiff
from refineseg.labels import UInt8
from refineseg.system.files import atomic_path, atomic_write
from refineseg.system.memory import hand_back_memory

OVERLAY_PIXELS = 32_000_000  # larger overlays are made from every n-th row and column
TIFFS = (".tif", ".tiff", ".svs")


@dataclass(frozen=True)
class Outcome:
    """What was written for one picture.

    Attributes:
        files: by kind.
        class_shares: share of the picture by class name, largest first.
        size: height and width.
        resumed_at: row from which this run went on; 0 if it began.
    """

    files: dict[str, Path]
    class_shares: dict[str, float]
    size: tuple[int, int]
    resumed_at: int = 0


@dataclass
class _Work:
    """The rasters of a picture in work, and how far they are done."""

    folder: Path
    key: str
    size: tuple[int, int]
    classes: int
    save: tuple[str, ...]
    done: int = 0
    labels: Raster = field(init=False)
    entropy: Raster = field(init=False)
    probs: list[Raster] = field(init=False)

    def __post_init__(self) -> None:
        """Go on with what is there if it has the same key, else make empty rasters."""
        self.labels = Raster(self.folder / "labels.raw", self.size)
        self.entropy = Raster(self.folder / "uncertainty.raw", self.size)
        header = _npy_header((self.classes, *self.size))
        pixels = self.size[0] * self.size[1]
        self.probs = [
            Raster(self.folder / "probs.npy", self.size, offset=len(header) + i * pixels)
            for i in range(self.classes)
        ]
        state = self.folder / "state.json"
        try:
            found = json.loads(state.read_text(encoding="utf-8"))
            moved = "probs" in self.save and not self.probs[0].path.exists()  # its last run ended while finishing
            if found["key"] == self.key and not moved:
                self.done = int(found["rows"])
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no state, or none that can be trusted: begin
        self.labels.create()
        if "uncertainty" in self.save:
            self.entropy.create()
        if "probs" in self.save:
            self.probs[-1].create()
            with self.probs[0].path.open("r+b") as stream:
                stream.write(header)

    def put(self, top: int, labels: UInt8, scores: NDArray[np.float16] | None) -> None:
        """Write a strip, then note that it is done."""
        self.labels.write(top, labels)
        if scores is not None and "uncertainty" in self.save:
            self.entropy.write(top, uncertainty(scores))
        if scores is not None and "probs" in self.save:
            scaled = np.rint(scores.astype(np.float32) * 255).astype(np.uint8)
            for raster, plane in zip(self.probs, scaled, strict=True):
                raster.write(top, plane)
        self.done = top + len(labels)
        atomic_write(self.folder / "state.json", json.dumps({"key": self.key, "rows": self.done}) + "\n")


def predict_large(
    segmenter: Segmenter,
    path: Path,
    out: Path,
    options: PredictOptions,
    save: tuple[str, ...] = ("mask", "overlay"),
    tile: int | Literal["auto"] = "auto",
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Segment one file in windows and write what ``save`` names under ``out``.

    Args:
        segmenter: the predictor.
        path: a picture of any size; TIFF is read by windows, others are decoded once.
        out: output folder.
        options: scales and flip.
        save: kinds of inference.result.KINDS. Here probabilities are uint8 (p = value / 255) in a .npy file
            KxHxW, and the mask of a TIFF is a TIFF with its geographic tags.
        tile: side of the windows, or ``auto``.
        name: stem of the files; the picture's if None.
        progress: called with windows done and in all.

    Raises:
        InputError: the picture cannot be read, or the disk is full; what is done stays for the next run.
    """
    name = name or path.stem
    part = out / f".{name}.part"
    options = replace(options, probabilities=bool(SCORED & set(save)))
    try:
        part.mkdir(parents=True, exist_ok=True)
        with open_picture(path, segmenter.card.channels, scratch=part) as picture:
            plan = segmenter.plan(picture.size, options, tile)
            key = _key(segmenter, path, options, save, plan)
            work = _Work(part, key, picture.size, segmenter.card.labels.num_classes, save)
            resumed_at = work.done
            _fill(work, segmenter, plan, picture, options, progress)
            files = _write(work, segmenter, picture, out, name, path.suffix.lower() in TIFFS)
        shares = _shares(work.labels, segmenter.class_names)
        shutil.rmtree(part, ignore_errors=True)
        return Outcome(files, shares, work.size, resumed_at)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"cannot write {part}: {reason}; choose another output place or free space") from error
    finally:
        if not (part / "state.json").exists():
            shutil.rmtree(part, ignore_errors=True)


def _fill(
    work: _Work,
    segmenter: Segmenter,
    plan: Plan,
    picture: Picture,
    options: PredictOptions,
    progress: Callable[[int, int], None] | None,
) -> None:
    if work.done >= work.size[0]:
        return
    hand_back_memory()  # what measuring the network has left
    left_out = sum(1 for _, stop in plan.rows if stop <= work.done) * len(plan.columns)
    seen = left_out

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen % len(plan.columns) == 0:
            hand_back_memory()
        if progress is not None:
            progress(min(seen, plan.windows), plan.windows)

    for top, labels, scores in segmenter.strips(plan, picture.read, options, work.done, count):
        work.put(top, labels, scores)


def _write(
    work: _Work, segmenter: Segmenter, picture: Picture, out: Path, name: str, tiff: bool
) -> dict[str, Path]:
    """The finished rasters in the formats that are asked for, each under its final name when it is whole."""
    label_map = segmenter.card.labels
    files: dict[str, Path] = {}
    if "mask" in work.save:
        files["mask"] = out / "masks" / f"{name}{'.tif' if tiff else '.png'}"
        if tiff:
            write_index_tiff(files["mask"], work.labels, label_map.palette, picture.geo)
        else:
            strips = (rows for _, rows in work.labels.strips())
            write_png(files["mask"], work.size, strips, label_map.palette)
    if "uncertainty" in work.save:
        files["uncertainty"] = out / "uncertainty" / f"{name}.png"
        write_png(files["uncertainty"], work.size, (rows for _, rows in work.entropy.strips()))
    if "overlay" in work.save:
        files["overlay"] = out / "overlays" / f"{name}.jpg"
        with atomic_path(files["overlay"]) as temporary:
            _overlay(work.labels, picture, segmenter).save(temporary, quality=92)
    if set(VECTORS) & set(work.save):
        labels = work.labels.rows(0, work.size[0])
        files |= save_vectors(labels, label_map, picture.geo, out, name, work.save)
    if "probs" in work.save:
        files["probs"] = out / "probs" / f"{name}.npy"
        files["probs"].parent.mkdir(parents=True, exist_ok=True)
        work.probs[0].path.replace(files["probs"])
    return files


def _overlay(labels: Raster, picture: Picture, segmenter: Segmenter) -> Image.Image:
    """The overlay of every n-th row and column, so that it has at most ``OVERLAY_PIXELS``."""
    height, width = labels.size
    step = max(1, ceil((height * width / OVERLAY_PIXELS) ** 0.5), ceil(max(height, width) / 30_000))
    small, seen = [], []
    for top, rows in labels.strips(256 * step):
        pixels = picture.read(top, top + len(rows), 0, width)[::step, ::step]
        small.append(rows[::step, ::step].copy())  # views would keep every whole strip alive
        seen.append(visible(pixels, segmenter.card.channels).copy())
    return Result(np.concatenate(small), segmenter.card.labels, np.concatenate(seen)).overlay()


def _shares(labels: Raster, names: list[str]) -> dict[str, float]:
    counts = np.zeros(256, np.int64)
    for _, rows in labels.strips():
        counts += np.bincount(rows.ravel(), minlength=256)
    order = np.argsort(-counts[: len(names)], kind="stable")
    return {names[i]: float(counts[i] / (labels.size[0] * labels.size[1])) for i in order if counts[i]}


def _key(segmenter: Segmenter, path: Path, options: PredictOptions, save: tuple[str, ...], plan: Plan) -> str:
    """Of weights, calibration, options, windows and the file: what the rows already written depend on."""
    state = path.stat()
    facts = (segmenter.fingerprint(), segmenter.card.calibration, options, sorted(save), plan)
    text = repr((facts, str(path.resolve()), state.st_size, state.st_mtime_ns))
    return hashlib.sha256(text.encode()).hexdigest()


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file of uint8 (NumPy's NEP 1)."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()
