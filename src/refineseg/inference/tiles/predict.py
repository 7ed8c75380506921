"""Prediction of files of any size: in windows, written strip by strip, resumed after an interruption.

Unfinished results are in OUT/.NAME.part, whose state.json has the number of finished rows and a key of everything
they depend on. A later run with the same key resumes; any other starts again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refineseg.data.pictures.open_picture import open_picture
from refineseg.data.pictures.picture import Picture
from refineseg.data.pictures.raster import Raster
from refineseg.inference.options import PredictOptions
from refineseg.inference.outputs import LargeResult, OutputKind, check_large, find_kinds, need_probabilities
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import shares_of
from refineseg.inference.tiles.tiling import Tiling
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_write, writing
from refineseg.system.memory import hand_back_memory

TIFFS = (".tif", ".tiff", ".svs")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one picture."""

    files: dict[str, Path]  # files by output kind
    class_shares: dict[str, float]  # share of the picture by class name, largest first
    size: tuple[int, int]  # height and width
    resumed_at: int = 0  # row at which this run resumed, or 0
    notes: tuple[str, ...] = ()  # what was assumed or skipped in reading the picture


@dataclass
class _Work:
    """The unfinished rasters of a picture, and the number of finished rows."""

    folder: Path
    key: str
    size: tuple[int, int]
    classes: int
    kinds: list[OutputKind]
    done: int = 0
    labels: Raster = field(init=False)
    kept: dict[str, list[Raster]] = field(init=False)

    def __post_init__(self) -> None:
        """Resume if the key is the same; otherwise create empty rasters."""
        self.labels = Raster(self.folder / "labels.raw", self.size)
        self.kept = {kind.name: self._planes(kind) for kind in self.kinds}
        state = self.folder / "state.json"
        try:
            found = json.loads(state.read_text(encoding="utf-8"))
            if found["key"] == self.key:
                self.done = int(found["rows"])
                return
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing or damaged: start again
        self.labels.create()
        for planes in self.kept.values():
            if planes:
                planes[-1].create()

    def _planes(self, kind: OutputKind) -> list[Raster]:
        """A kind's planes, one after another in a file; the bytes of a number are the raster's channels."""
        width = np.dtype(kind.kept_type).itemsize
        plane = self.size[0] * self.size[1] * width
        path = self.folder / f"{kind.name}.raw"
        count = len(kind.keep(np.zeros((self.classes, 1, 1), np.float16)))
        return [Raster(path, self.size, width, i * plane) for i in range(count)]

    def put(self, top: int, labels: UInt8, scores: NDArray[np.float16] | None) -> None:
        """Write a strip, then record it as finished."""
        self.labels.write(top, labels)
        if scores is not None:
            for kind in self.kinds:
                for raster, plane in zip(self.kept[kind.name], kind.keep(scores), strict=True):
                    raster.write(top, np.ascontiguousarray(plane, kind.kept_type).view(np.uint8))
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
    """Segment one file in windows and write the kinds that ``save`` names under ``out``.

    TIFF is read by windows, other formats are decoded whole. The mask of a TIFF is a TIFF with its geographic
    tags. ``name`` is the stem of the files, by default the picture's. ``progress`` is called with the number of
    windows done and in total.

    Raises:
        InputError: the picture cannot be read.
        WriteError: the disk is full or the folder read-only. The next run resumes from there.
    """
    name = name or path.stem
    part = out / f".{name}.part"
    kinds = find_kinds(save, segmenter.outputs)
    check_large(kinds)
    options = replace(options, probabilities=need_probabilities(kinds))
    try:
        with writing(part):
            part.mkdir(parents=True, exist_ok=True)
            with open_picture(path, segmenter.card.channels, options.choice, part) as picture:
                tiling = segmenter.tiling(picture.size, options, tile)
                key = _key(segmenter, path, options, save, tiling)
                work = _Work(part, key, picture.size, segmenter.card.labels.num_classes, kinds)
                resumed_at = work.done
                _fill(work, segmenter, tiling, picture, options, progress)
                from_tiff = path.suffix.lower() in TIFFS
                card, files = segmenter.card, {}
                for kind in kinds:
                    kept = work.kept[kind.name]
                    large = LargeResult(work.labels, card.labels, picture, card.channels, kept, from_tiff)
                    files[kind.name] = kind.write_large(large, out, name)
                notes = picture.notes
            counts = np.zeros(256, np.int64)
            for _, rows in work.labels.strips():
                counts += np.bincount(rows.ravel(), minlength=256)
            shares = shares_of(counts, segmenter.class_names)
            shutil.rmtree(part, ignore_errors=True)
            return Outcome(files, shares, work.size, resumed_at, notes)
    finally:
        if not (part / "state.json").exists():
            shutil.rmtree(part, ignore_errors=True)


def _fill(
    work: _Work,
    segmenter: Segmenter,
    tiling: Tiling,
    picture: Picture,
    options: PredictOptions,
    progress: Callable[[int, int], None] | None,
) -> None:
    if work.done >= work.size[0]:
        return
    hand_back_memory()  # freed after measuring the network
    skipped = sum(1 for _, stop in tiling.rows if stop <= work.done) * len(tiling.columns)
    seen = skipped

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen % len(tiling.columns) == 0:
            hand_back_memory()
        if progress is not None:
            progress(min(seen, tiling.windows), tiling.windows)

    for top, labels, scores in segmenter.strips(tiling, picture.read, options, work.done, count):
        void = picture.void(top, top + len(labels), 0, work.size[1])
        if void is not None:
            labels = np.where(void, np.uint8(IGNORE), labels)
            scores = None if scores is None else np.where(void, scores.dtype.type(0), scores)
        work.put(top, labels, scores)


def _key(segmenter: Segmenter, path: Path, options: PredictOptions, save: tuple[str, ...], tiling: Tiling) -> str:
    """Hash of everything that finished rows depend on: weights, calibration, options, windows, file."""
    state = path.stat()
    settings = (segmenter.fingerprint(), segmenter.card.calibration, options, sorted(save), tiling)
    text = repr((settings, str(path.resolve()), state.st_size, state.st_mtime_ns))
    return hashlib.sha256(text.encode()).hexdigest()
