"""Pictures held out for validation if a data set has no such split."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from refineseg.data.dataset import SegmentationData
from refineseg.data.splits.groups import guess_groups
from refineseg.system.text import counted

VAL_SHARE = 0.1


def held_out(stems: Sequence[str]) -> set[str]:
    """The stems to hold out: a tenth, in whole groups, chosen by a hash of their names."""
    groups = guess_groups(stems)
    sizes = Counter(groups)
    chosen: set[str] = set()
    for group in sorted(sizes, key=lambda name: hashlib.sha256(os.fsencode(name)).digest()):
        if sum(sizes[name] for name in chosen) >= VAL_SHARE * len(stems) or len(chosen) + 1 == len(sizes):
            break
        chosen.add(group)
    return {stem for stem, group in zip(stems, groups, strict=True) if group in chosen}


def with_validation(data: SegmentationData) -> SegmentationData:
    """The data with a split ``val``: its own, or a tenth of ``train`` (noted). InputError without ``train``."""
    train = data.split("train")
    chosen = held_out([sample.stem for sample in train])
    if data.splits.get("val") or not chosen:
        return data
    kept = tuple(sample for sample in train if sample.stem not in chosen)
    val = tuple(sample for sample in train if sample.stem in chosen)
    note = f"no split val: held out {len(val):,} of {counted(train, 'training picture')} for it"
    return replace(data, splits={**data.splits, "train": kept, "val": val}, notes=(*data.notes, note))
