"""Rules on classes (absent, rare, dominant, ignored, alone in a mask), and class statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.findings import ClassFigures, Finding, file_finding
from refineseg.data.check.measurements.measurement import (
    Measurements,
    PairMeasurement,
    class_values,
    ignored_values,
    with_image,
)
from refineseg.data.check.rules.masks import mask_files, valid_masks
from refineseg.labels import IGNORE
from refineseg.system.text import counted

RARE_SHARE = 0.001  # of the labelled training pixels
RARE_MASKS = 3  # training masks with the class
RARE_OF = 20  # fewer training masks make RARE_MASKS meaningless
DOMINANT = 0.95  # share of one class
VOID_MANY = 0.4  # share of ignored pixels from which there is a warning
NAMED = 8
THIN = 0.9  # share of labelled pixels next to ignored ones from which labels are lines


def class_figures(files: DatasetFiles, measured: Measurements) -> tuple[ClassFigures, ...]:
    """Pixels and masks of every class by split, over masks with plausible values."""
    label_map = files.data.label_map
    ids = class_values(label_map)
    splits = list(files.by_split())
    pixels = [dict.fromkeys(splits, 0) for _ in label_map.classes]
    masks = [dict.fromkeys(splits, 0) for _ in label_map.classes]
    for item, mask in valid_masks(measured.pairs, label_map):
        known = {value: count for value, count in mask.by_value.items() if value in ids}
        for value, count in known.items():
            pixels[ids[value]][item.pair.split] += count
        for train_id in {ids[value] for value in known}:
            masks[train_id][item.pair.split] += 1
    return tuple(
        ClassFigures(entry.name, entry.color, pixels[index], masks[index])
        for index, entry in enumerate(label_map.classes)
    )


def void_share(files: DatasetFiles, measured: Measurements) -> float:
    """Share of ignored pixels in masks with plausible values."""
    ignored = ignored_values(files.data.label_map)
    valid = [mask for _, mask in valid_masks(measured.pairs, files.data.label_map)]
    void = sum(count for mask in valid for value, count in mask.by_value.items() if value in ignored)
    total = sum(mask.pixels for mask in valid)
    return void / total if total else 0.0


def sizes(measured: Measurements) -> tuple[tuple[int, int, int], ...]:
    """Width, height and number of pictures, most frequent first."""
    found = Counter(image.size for _, image in with_image(measured.pairs))
    return tuple((width, height, count) for (width, height), count in found.most_common())


def find(
    files: DatasetFiles, measured: Measurements, figures: tuple[ClassFigures, ...], void: float
) -> Iterator[Finding]:
    """Findings on classes; absent and rare ones only if every mask was opened."""
    ignore = list(files.data.label_map.ignore)
    if void >= VOID_MANY:
        share = "all" if void == 1 else f"{void:.1%} of the"
        yield Finding(
            "void-share",
            "error" if void == 1 else "warning",
            f"{share} mask pixels are ignored, in the loss and in scores",
            f"correct for sparse labels; else see 'ignore' in the label map (now {ignore})",
            count=1,
        )
    yield from _single_masks(files, measured)
    labelled = sum(item.total for item in figures)
    if not labelled:
        return
    yield from _dominant(figures, labelled)
    if measured.complete:
        yield from _absent(figures)
        yield from _rare(figures)


def _dominant(figures: tuple[ClassFigures, ...], labelled: int) -> Iterator[Finding]:
    largest = max(figures, key=lambda item: item.total)
    share = largest.total / labelled
    if share >= DOMINANT and len(figures) > 1:
        yield Finding(
            "dominant-class",
            "warning",
            f"{share:.1%} of the labelled pixels are {largest.name}: a network that predicts nothing else has a "
            "high pixel accuracy",
            "train with --set class_weights=0.5, and look at mean IoU rather than pixel accuracy",
            count=1,
        )


def _absent(figures: tuple[ClassFigures, ...]) -> Iterator[Finding]:
    nowhere = [item.name for item in figures if not item.total]
    if nowhere:
        yield Finding(
            "absent-class",
            "warning",
            f"{counted(nowhere, 'class')} of {len(figures)} without a pixel in any mask: {_names(nowhere)}",
            "remove them from the label map, or add pictures that show them; if masks do show them, the label "
            "map's values are wrong; COCO classes with crowds only are ignored by default",
            count=len(nowhere),
        )
    if not any(item.pixels.get("train") for item in figures):
        return
    unseen = [item.name for item in figures if item.total and not item.pixels.get("train")]
    if unseen:
        yield Finding(
            "class-not-in-train",
            "warning",
            f"{counted(unseen, 'class')} in other splits but not in train, which cannot be "
            f"learned and lower the score: {_names(unseen)}",
            "move pictures that show them into train (see 'splits' in labels.yaml)",
            count=len(unseen),
        )


def _rare(figures: tuple[ClassFigures, ...]) -> Iterator[Finding]:
    labelled = sum(item.pixels.get("train", 0) for item in figures)
    most = max((item.masks.get("train", 0) for item in figures), default=0)
    rare = []
    for item in figures:
        pixels, masks = item.pixels.get("train", 0), item.masks.get("train", 0)
        if pixels and (pixels < RARE_SHARE * labelled or (masks < RARE_MASKS and most >= RARE_OF)):
            rare.append(
                f"{item.name} ({counted(pixels, 'pixel')}, {pixels / labelled:.3%}, in {counted(masks, 'mask')})"
            )
    if rare:
        yield Finding(
            "rare-class",
            "note",
            f"{counted(rare, 'class')} rare in train: {_names(rare)}",
            "train with --set class_weights=0.5 or --set balanced_sampling=true, merge classes in the label map "
            "(several 'raw' values in one class), or label more",
            count=len(rare),
        )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _single_masks(files: DatasetFiles, measured: Measurements) -> Iterator[Finding]:
    """Masks with little information: all ignored, one class only, thin lines of labels."""
    label_map = files.data.label_map
    valid = valid_masks(measured.pairs, label_map)
    ignored = list(ignored_values(label_map))
    empty, lines = [], []
    single: dict[int, list[PairMeasurement]] = {}
    for item, mask in valid:
        present = mask.values[~np.isin(mask.values, ignored)]
        if not len(present):
            empty.append(item)
        elif len(present) == 1:
            single.setdefault(int(present[0]), []).append(item)
        if mask.thin > THIN:
            lines.append(item)
    yield from file_finding(
        "empty-mask",
        "warning",
        f"{counted(empty, 'mask')} with ignored pixels only, from which nothing can be learned",
        "annotate them, or remove the pictures; if the value means a class, check 'ignore' in the label map",
        mask_files(empty),
    )
    names = {value: label_map.names[index] for value, index in class_values(label_map).items()}
    for value, items in single.items():
        many = len(items) > max(1, len(valid) // 2)
        yield from file_finding(
            "single-class-mask",
            "warning" if many else "note",
            f"{counted(items, 'mask')} of {len(valid):,} with one class only: "
            f"{names.get(value, f'the value {value}')}",
            "correct for pictures that show nothing else; otherwise annotations are missing: look at some of them",
            mask_files(items),
        )
    if len(lines) * 2 > len(valid):
        yield from file_finding(
            "inverted-ignore",
            "warning",
            f"{counted(lines, 'mask')} with thin lines of labels and the rest ignored: class and ignored "
            "value may be swapped",
            f"check 'ignore' in the label map (now {list(label_map.ignore)}; {IGNORE} is usual for borders)",
            mask_files(lines),
        )
