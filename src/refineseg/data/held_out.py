"""A split for validation where a data set has none."""

from __future__ import annotations

from dataclasses import replace

from refineseg.data.folder import held_out
from refineseg.data.source import SegmentationData


def with_validation(data: SegmentationData) -> SegmentationData:
    """The data with a split ``val``: a tenth of ``train`` in whole groups, and a note, where there is none.

    InputError if there is no ``train``.
    """
    train = data.split("train")
    chosen = held_out([sample.stem for sample in train])
    if data.splits.get("val") or not chosen:
        return data
    kept = tuple(sample for sample in train if sample.stem not in chosen)
    val = tuple(sample for sample in train if sample.stem in chosen)
    note = f"no split val: {len(val):,} of {len(train):,} training pictures are held out for it"
    return replace(data, splits={**data.splits, "train": kept, "val": val}, notes=(*data.notes, note))
