"""The rule on left and right: classes that a horizontal flip must swap."""

from __future__ import annotations

import re
from collections.abc import Iterator

from refineseg.data.check.findings import Finding
from refineseg.labels import LabelMap

OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
WORDS = re.compile(r"([\s_\-.]+)")  # as a group, so that splitting keeps the separators
SHOWN = 3  # pairs named


def find(label_map: LabelMap) -> Iterator[Finding]:
    """A finding if left and right classes are not declared as mirrors of each other."""
    pairs = unpaired_sides(label_map)
    if not pairs:
        return
    shown = "; ".join(f"{left} and {right}" for left, right in pairs[:SHOWN])
    more = f"; {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
    left, right = pairs[0]
    yield Finding(
        "unpaired-sides",
        "warning",
        f"left and right classes that are not swapped when a picture is flipped, so that half of the training "
        f"pictures have wrong labels: {shown}{more}",
        f"write 'mirror: {right}' at the class {left} in the label map, and the reverse at {right}; or train with "
        "--set augment.flip=0",
        count=2 * len(pairs),
    )


def unpaired_sides(label_map: LabelMap) -> list[tuple[str, str]]:
    """Pairs of class names that differ only in left and right and have no mirror, left first."""
    by_name = {item.name.casefold(): item for item in label_map.classes}
    pairs = []
    for item in label_map.classes:
        words = WORDS.split(item.name.casefold())
        if not {"left", "l"} & set(words):
            continue
        other = by_name.get("".join(OTHER.get(word, word) for word in words))
        if other is not None and item.mirror is None:  # LabelMap refuses half a pair
            pairs.append((item.name, other.name))
    return pairs
