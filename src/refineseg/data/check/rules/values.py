"""Rules on mask values: which convention they follow, if not that of the label map."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.findings import Finding, file_finding
from refineseg.data.check.measurements.measurement import (
    MaskMeasurement,
    Measurements,
    PairMeasurement,
    class_values,
    ignored_values,
)
from refineseg.data.check.rules.masks import mask_files, valid_masks
from refineseg.labels import IGNORE, LabelMap
from refineseg.raw_values import number_text
from refineseg.system.text import counted

INSTANCES = 1000  # class * 1000 + instance, as Cityscapes and others number instances
# Findings that make class counts meaningless.
MISREAD = frozenset({"off-by-one", "binary-0-255", "stretched-values", "instance-ids"})


def find(files: DatasetFiles, measured: Measurements) -> Iterator[Finding]:
    """Findings on values that the label map does not know or misinterprets."""
    label_map = files.data.label_map
    valid = valid_masks(measured.pairs, label_map)
    binary = _binary(label_map, valid)
    yield from file_finding(
        "binary-0-255",
        "error",
        f"{counted(binary, 'mask')} of 0 and 255 only, usual for background and object; here 255 is "
        + ("ignored, so that the object would not be learned" if IGNORE in label_map.ignore else "unknown"),
        f"write 'raw: 255' for {label_map.names[1]} and 'ignore: []' in the label map, or 'threshold: 128' in "
        "labels.yaml",
        mask_files(binary),
    )
    known = set(class_values(label_map)) | ignored_values(label_map)
    odd = [
        (item, mask) for item, mask in valid if item not in binary and not known.issuperset(mask.values.tolist())
    ]
    if not odd:
        return
    counts: Counter[int] = Counter()
    for _, mask in odd:
        counts.update(mask.by_value)
    unknown = {value: counts[value] for value in sorted(set(counts) - known)}
    kind, explanation, fix = diagnose(label_map, set(counts), set(unknown))
    shown = ", ".join(
        f"{number_text(value, label_map.rgb)} ({counted(pixels, 'pixel')})"
        for value, pixels in list(unknown.items())[:5]
    )
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    message = f"{counted(odd, 'mask')} with values outside the label map: {shown}{more}{explanation}"
    yield from file_finding(kind, "error", message, fix, mask_files([item for item, _ in odd]))


def diagnose(label_map: LabelMap, values: set[int], unknown: set[int]) -> tuple[str, str, str]:
    """Kind of finding, explanation and fix, from all values of masks with unknown ones, and the unknown ones."""
    classes = set(class_values(label_map))
    generic = "add each value to a class as 'raw' or to 'ignore' in the label map, or correct the masks"
    if label_map.rgb:
        return "unknown-values", "", generic
    labelled = values - ignored_values(label_map)
    if min(unknown) >= INSTANCES and all(value // INSTANCES in classes for value in unknown):
        return (
            "instance-ids",
            ", which look like instance ids (class * 1000 + instance)",
            "use the files of class ids (labelIds in Cityscapes), or divide the values by 1000",
        )
    if stretched(values, len(label_map.classes)):
        return (
            "stretched-values",
            ", which look like class numbers scaled to 0..255 for viewing",
            "give the values in the label map: "
            + ", ".join(f"{name}: raw {v}" for name, v in zip(label_map.names, sorted(values), strict=False)),
        )
    if unknown == {-1}:
        return _void(-1)
    if {value - 1 for value in labelled} <= classes and min(labelled) > min(classes):
        return (
            "off-by-one",
            ": all values are one too high",
            "number the classes from 1 in the label map (raw: 1 for the first), or subtract 1 from the masks; "
            "leave the ignored value as it is",
        )
    if {value + 1 for value in labelled} <= classes and len(labelled) > 1 and max(labelled) < max(classes):
        return (
            "off-by-one",
            ": all values are one too low",
            "number the classes from 0 in the label map (raw: 0 for the first), or add 1 to the masks; if "
            "0 means unlabelled, add it to 'ignore' instead",
        )
    if unknown == {max(classes) + 1}:
        return (
            "off-by-one",
            ": there is one value more than there are classes",
            f"if 0 means background or unlabelled, number the classes from 1 and give 0 a class or 'ignore'; "
            f"if {max(unknown)} means void, write 'ignore: [{max(unknown)}]'",
        )
    if unknown in ({0}, {IGNORE}):
        return _void(min(unknown))
    return "unknown-values", "", generic


def _void(value: int) -> tuple[str, str, str]:
    return (
        "void-not-declared",
        ", which usually means unlabelled",
        f"write 'ignore: [{value}]' in the label map if so, else add it to a class",
    )


def stretched(values: set[int], classes: int) -> bool:
    """Whether values are 0, s, 2s, ... for a step of 2 or more, or ``classes`` even steps from 0 to 255."""
    if len(values) < 2 or max(values) > 255:
        return False
    step = math.gcd(*values)
    if step > 1 and max(values) // step < classes:
        return True
    steps = [index * 255 / max(classes - 1, 1) for index in range(classes)]
    even = {round(value) for value in steps} | {math.floor(value) for value in steps}
    return values <= even and 255 in values and classes > 1


def _binary(label_map: LabelMap, valid: list[tuple[PairMeasurement, MaskMeasurement]]) -> list[PairMeasurement]:
    """Masks of 0 and 255 for background and object, if 255 is no class of the label map."""
    if label_map.rgb or len(label_map.classes) < 2 or IGNORE in class_values(label_map):
        return []
    two = [
        item
        for item, mask in valid
        if set(mask.values.tolist()) == {0, IGNORE} and int(mask.counts.min()) > 0.002 * mask.pixels
    ]
    most = len(two) * 2 > len(valid)
    # 255 next to real classes in any mask is a sign that it means "ignored", as declared.
    void_in_use = any(IGNORE in mask.values and set(mask.values.tolist()) - {0, IGNORE} for _, mask in valid)
    return two if most or (len(label_map.classes) == 2 and not void_in_use) else []
