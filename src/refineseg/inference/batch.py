"""Prediction over files: inputs, a unique name for each output, predictions.json with an entry per input."""

from __future__ import annotations

import glob
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refineseg.data.images import SUFFIXES
from refineseg.errors import InputError, RefinesegError
from refineseg.files import atomic_write, writable_folder
from refineseg.inference.predictor import PredictOptions, Segmenter

KINDS = ("mask", "overlay", "probs")


@dataclass(frozen=True)
class Entry:
    """What became of one input.

    Attributes:
        input: the picture.
        files: what was written, by kind, relative to the output folder.
        class_shares: share of the picture by class name, largest first.
        seconds: reading, prediction and writing.
        size: width and height in pixels.
        error: why there is no result, or None.
    """

    input: Path
    files: dict[str, str] = field(default_factory=dict)
    class_shares: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    size: tuple[int, int] | None = None
    error: str | None = None

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
        }


def find_inputs(given: Sequence[str]) -> list[Path]:
    """Pictures named by files, folders (their pictures, also in subfolders) and globs, in order, each once.

    Raises:
        InputError: a file is missing, a folder or glob holds no picture.
    """
    found: list[Path] = []
    for text in given:
        path = Path(text).expanduser()
        if path.is_dir():
            inside = sorted(item for item in path.rglob("*") if _is_picture(item))
            if not inside:
                raise InputError(
                    f"expected pictures in the folder {path}, found none ({', '.join(sorted(SUFFIXES))})"
                )
            found += inside
        elif path.exists():
            found.append(path)
        elif glob.has_magic(text):
            matched = sorted(Path(item) for item in glob.glob(str(path), recursive=True))  # noqa: PTH207 - any root
            if not matched:
                raise InputError(f"expected pictures matching {text}, found none")
            found += [item for item in matched if item.is_file()]
        else:
            raise InputError(f"expected a picture, folder or glob, found nothing at {path}")
    return list(dict.fromkeys(found))


def output_names(inputs: Sequence[Path]) -> list[str]:
    """A name per input, unique without regard to letter case: its stem, with the folder or a number if need be."""
    stems = [path.stem for path in inputs]
    doubled = {stem for stem, count in Counter(stem.lower() for stem in stems).items() if count > 1}
    names: list[str] = []
    taken: set[str] = set()
    for path, stem in zip(inputs, stems, strict=True):
        wanted = f"{path.parent.name}_{stem}" if stem.lower() in doubled and path.parent.name else stem
        name, number = wanted, 2
        while name.lower() in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def predict_files(
    segmenter: Segmenter,
    inputs: Sequence[Path],
    out: Path,
    options: PredictOptions,
    save: Sequence[str] = ("mask", "overlay"),
    progress: Callable[[Entry], None] | None = None,
) -> list[Entry]:
    """Segment pictures and write OUT/masks, OUT/overlays ... and OUT/predictions.json.

    A picture that cannot be read becomes an entry with an error, and the others are still done. A folder that
    cannot be written to, or a full disk, ends it: predictions.json then lists what was finished.

    Raises:
        InputError: unknown kind in ``save``, or OUT cannot be written to.
    """
    unknown = [kind for kind in save if kind not in KINDS]
    if unknown:
        raise InputError(f"expected --save with {', '.join(KINDS)}, got {unknown[0]!r}")
    writable_folder(out)
    entries: list[Entry] = []
    try:
        for entry in _each(segmenter, inputs, out, options, tuple(save)):
            entries.append(entry)
            if progress is not None:
                progress(entry)
    finally:
        written = {"model": segmenter.info.name, "predictions": [entry.to_dict() for entry in entries]}
        atomic_write(out / "predictions.json", json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    return entries


def _each(
    segmenter: Segmenter, inputs: Sequence[Path], out: Path, options: PredictOptions, save: tuple[str, ...]
) -> Iterator[Entry]:
    for path, name in zip(inputs, output_names(inputs), strict=True):
        start = time.perf_counter()
        try:
            result = segmenter.predict(
                path, scales=options.scales, flip=options.flip, probabilities=options.probabilities
            )
        except RefinesegError as error:
            yield Entry(path, error=str(error))
            continue
        files = result.save(out, save, name=name)
        yield Entry(
            input=path,
            files={kind: file.relative_to(out).as_posix() for kind, file in files.items()},
            class_shares=result.class_shares,
            seconds=time.perf_counter() - start,
            size=(result.labels.shape[1], result.labels.shape[0]),
        )


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
