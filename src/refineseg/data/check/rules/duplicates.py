"""Rules on duplicates and near-duplicates, in one split or across splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.findings import Finding, file_finding
from refineseg.data.check.measurements.measurement import (
    ImageMeasurement,
    Measurements,
    PairMeasurement,
    with_image,
    with_mask,
)
from refineseg.data.check.rules.masks import mask_files
from refineseg.system.text import counted

# A re-saved picture: different bits of 64; mean and largest difference in grey levels over 16x16 cells.
COPY_BITS, COPY_GREY, COPY_WORST = 8, 0.9, 8
ALIKE_BITS, ALIKE_GREY = 12, 12.0  # the same for frames of one scene
STILL_GREY = 4.0  # mean difference of frames of a fixed camera, whose masks may be equal
CHUNK = 1 << 22  # comparisons at a time

Readable = list[tuple[PairMeasurement, ImageMeasurement]]


def find(files: DatasetFiles, measured: Measurements) -> Iterator[Finding]:
    """Findings on repeated pictures and masks."""
    readable = [(item, image) for item, image in with_image(measured.pairs) if not image.blank]
    yield from _within(readable)
    yield from _masks(measured)
    train = [(item, image) for item, image in readable if item.pair.split == "train"]
    held = [(item, image) for item, image in readable if item.pair.split != "train"]
    if train and held:
        yield from _across(train, held, own=files.own)


def _within(readable: Readable) -> Iterator[Finding]:
    """The same pixels twice in one split."""
    seen: dict[tuple[str, bytes], PairMeasurement] = {}
    twice: list[Path] = []
    conflicting: list[Path] = []
    for item, image in readable:
        first = seen.setdefault((item.pair.split, image.digest), item)
        if first is item or first.pair.image == item.pair.image:
            continue
        same = first.mask is not None and item.mask is not None and first.mask.digest == item.mask.digest
        (twice if same else conflicting).extend([first.pair.image, item.pair.image])
    yield from file_finding(
        "duplicate-image",
        "warning",
        f"{counted(twice[::2], 'picture')} with a copy of another name and the same mask in the same split",
        "remove the copies: they count double",
        twice,
    )
    yield from file_finding(
        "conflicting-masks",
        "warning",
        f"{counted(conflicting[::2], 'picture')} with a copy in the same split that has a different mask",
        "keep the correct one of each",
        conflicting,
    )


def _masks(measured: Measurements) -> Iterator[Finding]:
    """The same mask for different pictures; masks of one value do not count."""
    groups: dict[bytes, list[tuple[PairMeasurement, bytes]]] = {}
    for item, mask in with_mask(measured.pairs):
        if item.image is not None and len(mask.values) > 1:
            groups.setdefault(mask.digest, []).append((item, item.image.digest))
    shared = [
        item
        for members in groups.values()
        if len({digest for _, digest in members}) > 1
        for item, _ in members
        if not _frames_of_one(members)
    ]
    yield from file_finding(
        "duplicate-mask",
        "warning",
        f"{counted(shared, 'mask')} identical to another, although the pictures differ",
        "look at them: a mask may have been copied under a wrong name",
        mask_files(shared),
    )


def _frames_of_one(members: list[tuple[PairMeasurement, bytes]]) -> bool:
    """Whether the pictures are nearly equal: one picture saved twice, or frames of a fixed camera."""
    images = [image for _, image in with_image([item for item, _ in members])]
    thumbs = np.stack([image.thumb for image in images]).astype(np.int16)
    return bool(np.abs(thumbs - thumbs[0]).mean(axis=(1, 2)).max() < STILL_GREY)


def _across(train: Readable, held: Readable, *, own: bool) -> Iterator[Finding]:
    """Pictures of other splits that are also in train: exact copies, re-saved ones, similar ones."""
    known = {image.digest: item.pair.image for item, image in train}
    exact = [(item.pair.image, known[image.digest]) for item, image in held if image.digest in known]
    if exact:
        yield from file_finding(
            "leak-exact",
            "error" if own else "warning",
            f"{counted(exact, 'picture')} for validation or test that are also in train, such as "
            f"{_shown(exact[0])}: scores would be too high",
            "remove them from train.txt or from val.txt (for a published benchmark, mention it with the score)",
            [path for pair in exact for path in pair],
        )
    rest = [(item, image) for item, image in held if image.digest not in known]
    copies, alike = near(train, rest)
    if copies:
        yield from file_finding(
            "leak-near",
            "warning",
            f"{counted(copies, 'picture')} for validation or test that are also in train in another size or "
            f"compression, such as {_shown(copies[0])}: scores would be too high",
            "keep such copies in one split",
            [path for pair in copies for path in pair],
        )
    if alike:
        yield from file_finding(
            "leak-alike",
            "note",
            f"{counted(alike, 'picture')} for validation or test very similar to one in train, such as "
            f"{_shown(alike[0])}: frames of the same scene give higher scores than new scenes",
            "split by scene or recording, by lists in train.txt and val.txt",
            [path for pair in alike for path in pair],
        )


def near(train: Readable, held: Readable) -> tuple[list[tuple[Path, Path]], list[tuple[Path, Path]]]:
    """(held, train) pairs: re-saved copies, and similar pictures. No picture occurs twice."""
    copies: list[tuple[Path, Path]] = []
    alike: list[tuple[Path, Path]] = []
    hashes = np.array([image.phash for _, image in train], np.uint64)
    thumbs = np.stack([image.thumb for _, image in train])
    step = max(1, CHUNK // len(train))
    for start in range(0, len(held), step):
        chunk = held[start : start + step]
        ours = np.array([image.phash for _, image in chunk], np.uint64)
        bits = np.bitwise_count(ours[:, None] ^ hashes[None, :])
        for row, (item, image) in enumerate(chunk):
            candidates = (bits[row] <= ALIKE_BITS).nonzero()[0]
            if not len(candidates):
                continue
            gap = np.abs(thumbs[candidates].astype(np.int16) - image.thumb.astype(np.int16))
            worst, mean = gap.max(axis=(1, 2)), gap.mean(axis=(1, 2))
            place = int(mean.argmin())
            other = train[int(candidates[place])][0].pair.image
            if (
                bits[row, candidates[place]] <= COPY_BITS
                and mean[place] <= COPY_GREY
                and worst[place] <= COPY_WORST
            ):
                copies.append((item.pair.image, other))
            elif mean[place] <= ALIKE_GREY:
                alike.append((item.pair.image, other))
    return copies, alike


def _shown(pair: tuple[Path, Path]) -> str:
    return " and ".join(dict.fromkeys(path.name for path in pair))
