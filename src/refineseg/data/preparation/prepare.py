"""Unpacking of a benchmark's official archives, with a check of the published counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refineseg.data.preparation.archives import FileProgress, Taken, extract
from refineseg.data.registry import find_benchmark
from refineseg.errors import InputError
from refineseg.system.lock import locked


@dataclass(frozen=True)
class SampleCount:
    """Number of samples found in a split, and the published numbers."""

    split: str
    found: int
    published: tuple[int, ...]

    @property
    def right(self) -> bool:
        """Whether the number found is a published one."""
        return self.found in self.published


@dataclass(frozen=True)
class Prepared:
    """Result of ``prepare``."""

    taken: Taken
    converted: int
    counts: tuple[SampleCount, ...]


def prepare(name: str, archives: Sequence[Path], root: Path, progress: FileProgress | None = None) -> Prepared:
    """Unpack a benchmark's archives into its layout under ``root``; a second call resumes.

    Archives are tar or zip files, or plain .mat files, and only read. ``progress`` is called with (done, total,
    name): bytes of an archive, then files to convert. InputError for an unknown name, a damaged or unrelated
    archive, or an incomplete layout.
    """
    benchmark, report = find_benchmark(name), progress or (lambda _done, _all, _what: None)
    absent = [str(path) for path in archives if not path.is_file()]
    if absent:
        raise InputError(f"Archive not found: {absent[0]}; {name} comes as {benchmark.archives}")
    with locked(root):
        taken, files = Taken(), [path for path in archives if path.suffix == ".mat"]
        for archive in archives:
            found = extract(archive, root, benchmark.place, report)
            if not found.written + found.present and archive not in files:
                raise InputError(f"{archive} has no files of {name}: expected {benchmark.archives}")
            taken += found
        converted = benchmark.convert(root, files, report) if benchmark.convert else 0
        return Prepared(taken, converted, count_samples(name, root))


def count_samples(name: str, root: Path) -> tuple[SampleCount, ...]:
    """Number of samples on disk and published numbers, by split."""
    benchmark = find_benchmark(name)
    splits = benchmark.open(root).splits
    counts = []
    for split, published in benchmark.pairs.items():
        pictures = [sample for sample in splits.get(split, ()) if sample.image.is_file()]
        whole = [sample.mask.is_file() if sample.mask else split == "test" for sample in pictures]
        counts.append(SampleCount(split, sum(whole), published))
    return tuple(counts)
