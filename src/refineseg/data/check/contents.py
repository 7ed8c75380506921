"""Rules on what the values of single masks say: nothing, one class, thin lines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refineseg.data.check.facts import PairFacts, Scan, class_values, ignored_values, with_mask
from refineseg.data.check.findings import Finding, about, counted
from refineseg.data.check.listing import Listing
from refineseg.data.check.masks import mask_files, trouble
from refineseg.labels import IGNORE

THIN = 0.9  # share of labelled pixels beside ignored ones from which labels are lines


def find(listing: Listing, scan: Scan) -> Iterator[Finding]:
    """Masks that say little: ignored everywhere, one class everywhere, thin lines of labels."""
    label_map = listing.label_map
    sound = [(item, mask) for item, mask in with_mask(scan.facts) if not trouble(mask, label_map)]
    ignored = list(ignored_values(label_map))
    empty, lines = [], []
    single: dict[int, list[PairFacts]] = {}
    for item, mask in sound:
        present = mask.values[~np.isin(mask.values, ignored)]
        if not len(present):
            empty.append(item)
        elif len(present) == 1:
            single.setdefault(int(present[0]), []).append(item)
        if mask.thin > THIN:
            lines.append(item)
    if empty:
        yield about(
            "empty-mask",
            "warning",
            f"{counted(empty, 'mask')} of nothing but ignored pixels: nothing is learnt from them",
            "annotate them, or take the pictures out; if the value means a class, see 'ignore' in the label map",
            mask_files(empty),
        )
    names = {value: label_map.names[index] for value, index in class_values(label_map).items()}
    for value, items in single.items():
        many = len(items) > max(1, len(sound) // 2)
        yield about(
            "single-class-mask",
            "warning" if many else "note",
            f"{counted(items, 'mask')} of {len(sound):,} with one class only: "
            f"{names.get(value, f'the value {value}')}",
            "right for pictures that show nothing else; otherwise the annotation is missing: look at some",
            mask_files(items),
        )
    if len(lines) * 2 > len(sound):
        yield about(
            "inverted-ignore",
            "warning",
            f"{counted(lines, 'mask')} with thin lines of labels and the rest ignored: the ignored value may "
            "be the wrong way round",
            f"check 'ignore' in the label map (now {list(label_map.ignore)}; {IGNORE} is usual for borders)",
            mask_files(lines),
        )
