"""Leaving out pairs that training cannot use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from refineseg.data.dataset import Sample, SegmentationData
from refineseg.errors import InputError, LabelError

NAMED = 5  # pairs named in the notes
MOST = 0.5  # share of bad pairs from which the description must be wrong, not single files

Progress = Callable[[int, int], None]


def drop_bad_pairs(data: SegmentationData, progress: Progress | None = None) -> SegmentationData:
    """The data set without unusable pairs: damaged files, different sizes, unknown mask values.

    Reads every pair once; ``notes`` count and name what is left out. InputError if half of the pairs are bad.
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

    faults: dict[Sample, str] = {}
    with ThreadPoolExecutor(4) as pool:
        for done, (sample, fault) in enumerate(zip(samples, pool.map(fault_of, samples), strict=True), 1):
            if fault:
                faults[sample] = fault
            if progress is not None:
                progress(done, len(samples))
    if not faults:
        return data
    first = next(iter(faults.values()))
    if len(faults) >= MOST * len(samples):
        raise InputError(
            f"{len(faults):,} of {len(samples):,} pairs cannot be used, too many to leave out; the first: {first}"
        )
    notes = [f"left out {len(faults):,} of {len(samples):,} pairs that cannot be used:"]
    notes += [f"  {fault}" for fault in list(faults.values())[:NAMED]]
    if len(faults) > NAMED:
        notes.append(f"  and {len(faults) - NAMED:,} more (refineseg check lists them)")
    splits = {
        name: tuple(sample for sample in items if sample not in faults) for name, items in data.splits.items()
    }
    return replace(data, splits=splits, notes=(*data.notes, *notes))
