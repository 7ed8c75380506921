"""Stratified splits that keep groups together."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refineseg.data.dataset import SPLITS, Sample, SegmentationData
from refineseg.data.description import nested_splits, read_description, split_lists
from refineseg.data.registry import open_data
from refineseg.data.splits.groups import groups_by_pattern, guess_groups
from refineseg.errors import InputError
from refineseg.labels import IGNORE
from refineseg.system.files import atomic_write, expanded
from refineseg.system.progress import Progress, tracked


@dataclass(frozen=True)
class SplitReport:
    """Result of ``split_data``."""

    pictures: Mapping[str, int]  # number of pictures by split
    groups: int
    classes: Mapping[str, Mapping[str, int]]  # number of pictures with a class, by class name and split
    lists: tuple[Path, ...]  # the files written


def split_data(
    spec: str,
    shares: Mapping[str, float],
    *,
    group: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SplitReport:
    """Write train.txt, val.txt and, if it has a share, test.txt for the user's data ``folder:ROOT``.

    Shares of val and test are above 0, together below 1; the rest is train. ``group`` is a regular expression
    for the part of a name that a group shares; guessed if None. ``seed`` breaks ties; ``overwrite`` replaces
    existing lists.

    InputError for no such folder, splits that are folders, existing lists, or fewer groups than splits.
    """
    root = _root(spec, overwrite)
    data = open_data(spec)
    samples = sorted((sample for items in data.splits.values() for sample in items), key=lambda item: item.stem)
    samples = list({sample.image: sample for sample in samples}.values())
    stems = [sample.stem for sample in samples]
    groups = guess_groups(stems) if group is None else groups_by_pattern(stems, group)
    present = _classes_of(data, samples, progress)
    chosen = assign_splits(groups, present, shares, seed)
    members = {name: [stem for stem, split in zip(stems, chosen, strict=True) if split == name] for name in SPLITS}
    lists = []
    for name, listed in members.items():
        if listed:
            lists.append(root / f"{name}.txt")
            atomic_write(lists[-1], "".join(f"{stem}\n" for stem in listed))
        elif overwrite:
            (root / f"{name}.txt").unlink(missing_ok=True)
    names = data.label_map.names
    counts = {name: Counter[str]() for name in names}
    for shown, split in zip(present, chosen, strict=True):
        for index in shown:
            counts[names[index]][split] += 1
    pictures = {name: len(listed) for name, listed in members.items() if listed}
    return SplitReport(pictures, len(set(groups)), counts, tuple(lists))


def assign_splits(
    groups: Sequence[str], present: Sequence[Sequence[int]], shares: Mapping[str, float], seed: int = 0
) -> list[str]:
    """A split for each picture: ``train`` or a name in ``shares`` (each above 0, together below 1).

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011) of whole groups: the group with
    most of the rarest class goes to the split that lacks most of that class. ``present`` has the train ids in
    each picture; ``seed`` breaks ties. InputError for shares out of range, or fewer groups than splits.
    """
    if not shares or min(shares.values()) <= 0 or sum(shares.values()) >= 1:
        raise InputError(f"expected shares above 0 that leave something for train, got {dict(shares)}")
    parts = {"train": 1 - sum(shares.values()), **shares}
    members: dict[str, list[int]] = {}
    for index, name in enumerate(groups):
        members.setdefault(name, []).append(index)
    if len(members) < len(parts):
        raise InputError(
            f"expected at least {len(parts)} groups of pictures for {', '.join(parts)}, found {len(members)}; "
            "give --group a pattern that distinguishes more of them"
        )
    draw = random.Random(seed)
    order = sorted(members)
    draw.shuffle(order)
    sizes = {name: len(members[name]) for name in order}
    classes = {name: Counter(label for index in members[name] for label in present[index]) for name in order}
    totals = sum(classes.values(), Counter[int]())
    lacking = {part: share * len(groups) for part, share in parts.items()}
    lacking_class = {part: {label: share * n for label, n in totals.items()} for part, share in parts.items()}
    chosen: dict[str, str] = {}
    used: set[str] = set()
    while len(chosen) < len(order):
        label = min((item for item in totals if totals[item] > 0), key=lambda item: totals[item], default=None)
        waiting = [name for name in order if name not in chosen and (label is None or classes[name][label])]
        waiting.sort(key=lambda name: -(sizes[name] if label is None else classes[name][label]))
        for name in waiting:
            unused = [part for part in parts if part not in used]
            able = unused if len(order) - len(chosen) <= len(unused) else list(parts)
            part = max(
                able,
                key=lambda part: (lacking_class[part].get(-1 if label is None else label, 0.0), lacking[part]),
            )
            chosen[name] = part
            used.add(part)
            lacking[part] -= sizes[name]
            totals.subtract(classes[name])
            for shown, count in classes[name].items():
                lacking_class[part][shown] -= count
    return [chosen[name] for name in groups]


def _root(spec: str, overwrite: bool) -> Path:
    """The folder whose lists are written; InputError if it must not have any."""
    name, _, root = spec.partition(":")
    folder = expanded(root)
    if name != "folder" or not root:
        raise InputError(f"expected folder:ROOT, pictures and masks of your own, got {spec!r}")
    if not (folder / "labels.yaml").is_file():
        raise InputError(f"File not found: {folder / 'labels.yaml'}")
    described = read_description(folder / "labels.yaml")
    nested = nested_splits(described)
    if nested:
        raise InputError(f"{folder} has splits already, as folders such as {described.images / nested[0]}")
    if described.lists is not None:
        raise InputError(f"{folder / 'labels.yaml'} names lists under 'splits': take them out to make new ones")
    lists = split_lists(described)
    if lists and not overwrite:
        there = ", ".join(path.name for path in lists.values())
        raise InputError(f"{folder} has {there} already: add --overwrite to replace them")
    return folder


def _classes_of(data: SegmentationData, samples: Sequence[Sample], progress: Progress | None) -> list[list[int]]:
    """Train ids in each picture's mask."""

    def read(sample: Sample) -> list[int]:
        if sample.mask is None:
            return []
        labels = data.label_map.encode(data.read_raw(sample.mask), str(sample.mask))
        return [int(value) for value in np.unique(labels) if value != IGNORE]

    with ThreadPoolExecutor(4) as pool:
        return list(tracked(pool.map(read, samples), len(samples), progress))
