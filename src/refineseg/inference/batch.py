"""Prediction of files: find inputs, name outputs, and write predictions.json with an entry per input."""

from __future__ import annotations

import glob
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from refineseg.data.images import SUFFIXES
from refineseg.data.pictures.open_picture import is_picture
from refineseg.errors import InputError, RefinesegError, TooLargeError, WriteError
from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.outputs import OutputKind, check_large, find_kinds, need_probabilities
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.predict import predict_large
from refineseg.inference.video.clips import is_video
from refineseg.inference.video.predict import VIDEO_KINDS, predict_video
from refineseg.inference.video.sources import VideoInput
from refineseg.system.files import atomic_write, expanded, writable_folder
from refineseg.system.text import unique_name

SLIDES = frozenset({".svs"})  # always read by windows, since they are too large for memory
WINDOWED = SUFFIXES | SLIDES  # read by windows with --tile


@dataclass(frozen=True)
class Entry:
    """The outcome of one input."""

    input: Path | str  # path of a picture or video; number of a camera, or address of a stream
    files: dict[str, str] = field(default_factory=dict)  # output files by kind, relative to the output folder
    # share of the picture by class name, largest first
    class_shares: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0  # time of reading, prediction and writing
    size: tuple[int, int] | None = None  # width and height in pixels
    # for a video: frames, frames_per_second (processed), label_changes, and a warning if it was damaged
    video: dict[str, Any] = field(default_factory=dict)
    # for a depth model: unit, low and high, and the depth of zero and of a step in the 16-bit PNG
    depth: dict[str, Any] = field(default_factory=dict)
    error: str | None = None  # the reason why there is no result, or None
    notes: tuple[str, ...] = ()  # what was assumed or skipped in reading the picture, a sentence each

    def to_dict(self) -> dict[str, Any]:
        """As written to predictions.json."""
        if self.error is not None:
            return {"input": str(self.input), "error": self.error}
        return {
            "input": str(self.input),
            "size": self.size,
            "files": self.files,
            "class_shares": {name: round(share, 6) for name, share in self.class_shares.items()},
            "seconds": round(self.seconds, 4),
            **({"notes": list(self.notes)} if self.notes else {}),
            **self.video,
            **({"depth": self.depth} if self.depth else {}),
        }


def find_inputs(given: Sequence[str]) -> list[Path]:
    """Pictures and videos named by files, folders (with subfolders) and globs, in order, without duplicates.

    Raises:
        InputError: a file is missing, a folder or glob has no pictures, or a text is empty.
    """
    found: list[Path] = []
    for text in given:
        if not text:  # Path("") would be the current folder
            raise InputError("expected a file, folder or glob, got an empty text: is a shell variable unset?")
        path = expanded(text)
        if path.is_dir():
            inside = sorted(item for item in path.rglob("*") if _is_input(item))
            if not inside:
                raise InputError(f"no pictures found in the folder {path} ({', '.join(sorted(SUFFIXES))})")
            found += inside
        elif path.exists():
            found.append(path)
        elif glob.has_magic(text):
            matched = sorted(Path(item) for item in glob.glob(str(path), recursive=True))  # noqa: PTH207 - any root
            if not matched:
                raise InputError(f"no pictures matching {text}")
            found += [item for item in matched if item.is_file()]
        else:
            raise InputError(f"File or folder not found: {path}")
    return list(dict.fromkeys(found))


def output_names(inputs: Sequence[Path]) -> list[str]:
    """A name per input, unique ignoring case: its stem, with the folder's name or a number added where needed."""
    stems = [path.stem for path in inputs]
    repeated = {stem for stem, count in Counter(stem.lower() for stem in stems).items() if count > 1}
    names: list[str] = []
    taken: set[str] = set()
    for path, stem in zip(inputs, stems, strict=True):
        base = f"{path.parent.name}_{stem}" if stem.lower() in repeated and path.parent.name else stem
        names.append(unique_name(base, taken))
    return names


def predict_files(
    segmenter: Segmenter,
    inputs: Sequence[Path | VideoInput],
    out: Path,
    options: PredictOptions,
    save: Sequence[str] | None = None,
    progress: Callable[[Entry], None] | None = None,
    tile: Tile = None,
    steps: Callable[[int, int | None], None] | None = None,
) -> list[Entry]:
    """Segment pictures and videos and write OUT/masks, OUT/overlays, OUT/videos ... and OUT/predictions.json.

    Args:
        segmenter: the predictor.
        inputs: files, and videos or cameras with their options.
        out: output folder.
        options: scales, flip, channels.
        save: output kinds; by default overlay for videos, and for pictures mask and overlay, or depth's kinds.
        progress: called with each finished entry.
        tile: side of the windows in pixels, or ``auto``, to process files window by window. Slides, rasters of
            other channels (their masks keep their place on the map) and pictures that do not fit in memory always
            are.
        steps: called with the number of windows or frames done and in total (None if unknown).

    A picture that cannot be read becomes an entry with an error, and the run goes on. A full disk or a read-only
    output folder ends the run; predictions.json then lists the finished inputs.

    Raises:
        InputError: unknown kind in ``save``, or the output folder cannot be written to.
    """
    if isinstance(tile, int) and tile < 1:
        raise InputError(f"expected --tile auto or a number of pixels such as 1024, got {tile}")
    kinds = find_kinds(save, segmenter.outputs)
    options = replace(options, probabilities=options.probabilities or need_probabilities(kinds))
    writable_folder(out)
    if segmenter.card.channels is not None:
        tile = tile or "auto"
    work = [VideoInput(item) if isinstance(item, Path) and is_video(item) else item for item in inputs]
    if tile is not None and any(isinstance(item, Path) for item in work):
        check_large(kinds)
    names = output_names([item.place if isinstance(item, VideoInput) else item for item in work])
    entries: list[Entry] = []
    try:
        for item, name in zip(work, names, strict=True):
            start = time.perf_counter()
            try:
                if isinstance(item, VideoInput):
                    item = replace(item, options=replace(item.options, tile=tile))
                    entry = _video(segmenter, item, out, options, save, name, steps)
                else:
                    entry = _picture(segmenter, item, out, options, kinds, name, tile, steps)
                entry = replace(entry, seconds=time.perf_counter() - start)
            except WriteError:
                raise
            except RefinesegError as error:
                entry = Entry(item if isinstance(item, Path) else str(item), error=str(error))
            entries.append(entry)
            if progress is not None:
                progress(entry)
    finally:
        written = {"model": segmenter.card.name, "predictions": [entry.to_dict() for entry in entries]}
        atomic_write(out / "predictions.json", json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    return entries


def _picture(
    segmenter: Segmenter,
    path: Path,
    out: Path,
    options: PredictOptions,
    kinds: list[OutputKind],
    name: str,
    tile: Tile,
    steps: Callable[[int, int | None], None] | None,
) -> Entry:
    """Segment in one piece; in windows with ``tile``, or if it does not fit in memory and all kinds allow it."""
    save = tuple(kind.name for kind in kinds)
    if tile is None and path.suffix.lower() not in SLIDES:
        try:
            how: dict[str, Any] = {"scales": options.scales, "flip": options.flip, "channels": options.channels}
            depth, kept = segmenter.outputs == "depth", options.probabilities
            result = (
                segmenter.predict_depth(path, **how)
                if depth
                else segmenter.predict(path, probabilities=kept, **how)
            )
            entry = _entry(path, out, result.save(out, save, name), result.size)
            return replace(entry, notes=result.notes, **result.summary)
        except TooLargeError:
            if not all(kind.by_windows for kind in kinds):
                raise
    done = predict_large(segmenter, path, out, options, save, tile or "auto", name, steps)
    return replace(_entry(path, out, done.files, done.size), class_shares=done.class_shares, notes=done.notes)


def _video(
    segmenter: Segmenter,
    item: VideoInput,
    out: Path,
    options: PredictOptions,
    save: Sequence[str] | None,
    name: str,
    steps: Callable[[int, int | None], None] | None,
) -> Entry:
    done = predict_video(
        segmenter, item.source, out, name, options, save or VIDEO_KINDS, item.options, progress=steps
    )
    entry = _entry(str(item), out, done.files, done.size)
    video = {
        "frames": done.frames,
        "frames_per_second": round(done.frames / max(done.seconds, 1e-9), 3),
        "label_changes": round(done.label_changes, 6),
        "smooth": item.options.smooth,
    }
    warning = {"warning": done.warning} if done.warning else {}
    return replace(entry, class_shares=done.class_shares, video=video | warning)


def _entry(path: Path | str, out: Path, files: dict[str, Path], size: tuple[int, int]) -> Entry:
    relative = {kind: file.relative_to(out).as_posix() for kind, file in files.items()}
    return Entry(input=path, files=relative, size=(size[1], size[0]))


def left_out(given: Sequence[str]) -> list[Path]:
    """Files in the folders of ``given`` that are neither pictures nor videos; hidden files are left out."""
    folders = [path for path in (expanded(text) for text in given) if path.is_dir()]
    inside = {item for folder in folders for item in folder.rglob("*") if not item.is_dir()}
    return sorted(item for item in inside if not item.name.startswith(".") and not _is_input(item))


def _is_input(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    suffix = path.suffix.lower()
    return suffix in WINDOWED or is_video(path) or (not suffix and is_picture(path))
