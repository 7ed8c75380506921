"""Opening data sets by ``NAME:ROOT`` or YAML file, and benchmarks by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

from refineseg.data.benchmark import Benchmark
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.data.folder import open_folder, open_yaml
from refineseg.errors import InputError, LabelError
from refineseg.system.files import expanded
from refineseg.system.plugins import load_plugin, module_names, plugin_names
from refineseg.system.progress import Progress, tracked
from refineseg.system.text import counted

GROUP, PACKAGE = "refineseg.benchmarks", "refineseg.data.benchmarks"  # entry points of other packages; our own
YAML = re.compile(r"(.+\.ya?ml)(?::(.+))?", re.IGNORECASE)
NAMED = 5  # samples named in the notes
MOST = 0.5  # share of bad samples from which the description must be wrong, not single files


def benchmark_names() -> list[str]:
    """Names of all benchmarks: one per file in ``benchmarks/``, then those of other packages."""
    own = [name.replace("_", "-") for name in module_names(PACKAGE)]
    return own + [name for name in plugin_names(GROUP) if name not in own]


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by its name or alias; InputError for unknown names."""
    names = benchmark_names()
    for known in [name] if name in names else names:
        benchmark = _load(known)
        if name in (known, *benchmark.aliases):
            return benchmark
    raise InputError(f"unknown benchmark {name!r}: known are {', '.join(names)}")


def open_data(spec: str | Path, *, drop_bad: bool = False, progress: Progress | None = None) -> SegmentationData:
    """Open a data set.

    Args:
        spec: ``NAME:ROOT`` with a benchmark's name (``camvid:/data/camvid``), ``folder:ROOT``, the path of a YAML
            file, or ``FILE.yaml:ROOT`` to apply the YAML file to another folder.
        drop_bad: leave out samples that training cannot use, and name them in ``notes``. Reads every sample once.
        progress: called with samples read and total, with ``drop_bad``.

    Raises:
        InputError: unknown name, missing folder, or pictures without masks.
    """
    data = _open(str(spec), drop_bad)
    return drop_bad_samples(data, progress) if drop_bad else data


def drop_bad_samples(data: SegmentationData, progress: Progress | None = None) -> SegmentationData:
    """The data set without unusable samples: damaged files, different sizes, unknown mask values.

    Reads every sample once; ``notes`` count and name what is left out. InputError if half of them are bad.
    """
    samples = [sample for items in data.splits.values() for sample in items]

    def fault_of(sample: Sample) -> str:
        if sample.mask is None:  # unlabelled pictures, as of test splits, are no fault
            return ""
        try:
            data.read(sample)
        except (InputError, LabelError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(4) as pool:
        found = zip(samples, pool.map(fault_of, samples), strict=True)
        faults = {sample: fault for sample, fault in tracked(found, len(samples), progress) if fault}
    if not faults:
        return data
    first = next(iter(faults.values()))
    if len(faults) >= MOST * len(samples):
        raise InputError(
            f"{len(faults):,} of {counted(samples, 'pair')} cannot be used, too many to leave out; the "
            f"first: {first}"
        )
    notes = [f"left out {len(faults):,} of {counted(samples, 'pair')} that cannot be used:"]
    notes += [f"  {fault}" for fault in list(faults.values())[:NAMED]]
    if len(faults) > NAMED:
        notes.append(f"  and {len(faults) - NAMED:,} more (refineseg check lists them)")
    splits = {
        name: tuple(sample for sample in items if sample not in faults) for name, items in data.splits.items()
    }
    return replace(data, splits=splits, notes=(*data.notes, *notes))


def _open(text: str, drop_bad: bool) -> SegmentationData:
    yaml = YAML.fullmatch(text)
    if yaml:
        root = expanded(yaml[2]) if yaml[2] else None
        return open_yaml(expanded(yaml[1]), root, drop_bad=drop_bad)
    name, colon, place = text.partition(":")
    path = expanded(place if colon else text)
    if not colon:
        hint = f"; for pictures and masks of your own write folder:{text}" if path.is_dir() else ""
        raise InputError(
            f"expected NAME:ROOT (folder:ROOT, or a NAME of {', '.join(benchmark_names())}) or a YAML file, "
            f"got {text!r}{hint}"
        )
    opened: Callable[[Path], SegmentationData] = partial(open_folder, drop_bad=drop_bad)
    if name != "folder":
        try:
            opened = partial(_open_benchmark, find_benchmark(name))
        except InputError as error:
            raise InputError(f"{error}; for pictures and masks of your own write folder:ROOT") from error
    if not path.is_dir():
        raise InputError(f"Folder not found: {path}")
    return opened(path)


def _open_benchmark(benchmark: Benchmark, root: Path) -> SegmentationData:
    """A benchmark's data, with its licence, and a note on splits that are not of the published size."""
    data = replace(benchmark.open(root), licence=benchmark.licence)
    sizes = {name: len(samples) for name, samples in data.splits.items() if samples}
    others = [
        f"{size:,} of {max(benchmark.pairs[name]):,} {name}"
        for name, size in sizes.items()
        if size not in benchmark.pairs.get(name, (size,))
    ]
    if not others:
        return data
    note = (
        f"not all of the published pictures ({', '.join(others)}): scores are not comparable with published ones"
    )
    return replace(data, notes=(*data.notes, note))


def _load(name: str) -> Benchmark:
    """The record of a name in ``benchmark_names``."""
    module = name.replace("-", "_")
    own = module in module_names(PACKAGE)
    found = import_module(f"{PACKAGE}.{module}").BENCHMARK if own else load_plugin(GROUP, name)
    if not isinstance(found, Benchmark):
        raise InputError(f"expected a Benchmark registered as {name!r} in {GROUP}, got {type(found).__name__}")
    return found
