"""The files of a data set as they lie there, faults and all.

``open_data`` stops at the first fault, as it should before training; a check wants all of them. So a set that
opens is taken as it opens, and one of the user's own that does not is paired here, leniently, by the same
description and the same splitting rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refineseg.channels import Channels, Pixels, display_rgb
from refineseg.data.dataset import SegmentationData, find_listed, read_list
from refineseg.data.folder import FolderDescription, folders_of, read_description, readers, split_lists
from refineseg.data.images import read_image, read_mask
from refineseg.data.leftovers import Leftovers, find_leftovers, group_by_stem
from refineseg.data.registry import YAML, open_data
from refineseg.data.splits.held_out import held_out
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

FLAT = frozenset({"camvid"})  # benchmarks whose folders hold their pairs and nothing else


@dataclass(frozen=True)
class CheckedPair:
    """A picture and the mask that training would take for it. ``mask`` is None where there is none."""

    split: str
    stem: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class DatasetFiles:
    """What lies on disk, and what does not fit together.

    Attributes:
        data: data set as the user wrote it.
        label_map: from raw mask values to train ids.
        pairs: pictures with their masks, in the order of the splits.
        own: whether the user's own files rather than a benchmark's, so that splits and files can be changed.
        no_mask: pictures without a mask.
        missing: (list file, entry) that no picture belongs to.
        repeated: pictures that are in their split more than once.
        leftovers: what else lies in the folders.
        refusal: what ``open_data`` said, or None if the set opens.
        read_picture, read_raw: the data set's own readers.
        channels: what the pictures' channels hold; None for RGB.
    """

    data: str
    label_map: LabelMap
    pairs: tuple[CheckedPair, ...]
    own: bool
    no_mask: tuple[Path, ...] = ()
    missing: tuple[tuple[Path, str], ...] = ()
    repeated: tuple[Path, ...] = ()
    leftovers: Leftovers = field(default_factory=Leftovers)
    refusal: str | None = None
    read_picture: Callable[[Path], Pixels] = field(default=read_image, repr=False)
    read_raw: Callable[[Path], NDArray[Any]] = field(default=read_mask, repr=False)
    channels: Channels | None = None

    def visible(self, pixels: Pixels) -> UInt8:
        """A picture that was read, as RGB HxWx3."""
        return display_rgb(pixels, self.channels)

    def by_split(self) -> dict[str, list[CheckedPair]]:
        """The pairs of each split."""
        grouped: dict[str, list[CheckedPair]] = {}
        for pair in self.pairs:
            grouped.setdefault(pair.split, []).append(pair)
        return grouped


def find_files(spec: str | Path) -> DatasetFiles:
    """Look at the folders of a data set.

    Args:
        spec: ``NAME:ROOT`` or a YAML file, as for ``open_data``.

    Raises:
        InputError: nothing can be listed: no folder, no readable description, no pictures.
    """
    text = str(spec)
    description = _description(text)
    try:
        data = open_data(spec)
    except InputError as error:
        if description is None:
            raise
        return _lenient(text, description, str(error))
    if description is not None:
        folders = folders_of(description)
    elif data.name in FLAT:
        folders = sorted(
            {(s.image.parent, s.mask.parent) for items in data.splits.values() for s in items if s.mask}
        )
    else:
        folders = []
    return _as_opened(text, data, folders, description)


def _description(text: str) -> FolderDescription | None:
    """The folder description of the user's own data; None for a benchmark."""
    name, _, root = text.partition(":")
    yaml = YAML.fullmatch(text)
    if yaml:
        file, place = Path(yaml[1]).expanduser(), Path(yaml[2]).expanduser() if yaml[2] else None
    elif name == "folder":
        file, place = Path(root).expanduser() / "labels.yaml", None
    else:
        return None
    return read_description(file, place) if file.is_file() else None


def _as_opened(
    text: str, data: SegmentationData, folders: list[tuple[Path, Path]], described: FolderDescription | None
) -> DatasetFiles:
    """A set that opens: its own samples, and what else lies in its folders."""
    pairs, no_mask, missing, repeated = [], [], [], []
    for split, samples in data.splits.items():
        seen: set[Path] = set()
        for sample in samples:
            if sample.image in seen:
                repeated.append(sample.image)
                continue
            seen.add(sample.image)
            if not sample.image.is_file():
                missing.append((data.root / f"{split}.txt", sample.image.name))
                continue
            mask = sample.mask if sample.mask is not None and sample.mask.is_file() else None
            if mask is None:
                no_mask.append(sample.image)
            pairs.append(CheckedPair(split, sample.stem, sample.image, mask))
    if not pairs:
        raise InputError(f"none of the pictures that the lists of {data.root} name are there")
    return DatasetFiles(
        data=text,
        label_map=data.label_map,
        pairs=tuple(pairs),
        own=described is not None,
        no_mask=tuple(no_mask),
        missing=tuple(missing),
        repeated=tuple(repeated),
        read_picture=data.read_picture,
        read_raw=data.read_raw,
        channels=data.channels,
        leftovers=find_leftovers(
            folders,
            {pair.image for pair in pairs},
            described.root if described else None,
            described.images if described else None,
        ),
    )


def _lenient(text: str, description: FolderDescription, refusal: str) -> DatasetFiles:
    """One's own data that ``open_data`` refuses: everything that can be paired, and what cannot."""
    folders = folders_of(description)
    nested = folders[0][0] != description.images
    found: dict[str, list[CheckedPair]] = {}
    for images, masks in folders:
        split = images.name if nested else ""
        labels = group_by_stem(masks)  # of several files of one stem the last by name
        found[split] = [
            CheckedPair(split, stem, paths[-1], labels.get(stem, [None])[-1])
            for stem, paths in group_by_stem(images).items()
        ]
    missing: list[tuple[Path, str]] = []
    repeated: list[Path] = []
    if not nested:
        found, missing, repeated = _split(description, found[""])
    pairs = tuple(pair for items in found.values() for pair in items)
    if not pairs:
        raise InputError(refusal)
    return DatasetFiles(
        data=text,
        label_map=description.label_map,
        pairs=pairs,
        own=True,
        no_mask=tuple(pair.image for pair in pairs if pair.mask is None),
        missing=tuple(missing),
        repeated=tuple(repeated),
        refusal=refusal,
        **readers(description),
        leftovers=find_leftovers(folders, {pair.image for pair in pairs}, description.root, description.images),
    )


def _split(
    description: FolderDescription, pairs: list[CheckedPair]
) -> tuple[dict[str, list[CheckedPair]], list[tuple[Path, str]], list[Path]]:
    """Pairs of one folder by split, what the lists name in vain, and what they name twice."""
    lists = split_lists(description)
    if not lists:
        chosen = held_out([pair.stem for pair in pairs])
        named = [(("val" if pair.stem in chosen else "train"), pair) for pair in pairs]
        return _grouped(named), [], []
    known = {pair.stem: pair for pair in pairs}
    named, missing, repeated = [], [], []
    for split, file in lists.items():
        seen: set[str] = set()
        for line in read_list(file):
            pair = find_listed(line, known)
            if pair is None:
                missing.append((file, line))
            elif pair.stem in seen:
                repeated.append(pair.image)
            else:
                seen.add(pair.stem)
                named.append((split, pair))
    return _grouped(named), missing, repeated


def _grouped(named: Iterable[tuple[str, CheckedPair]]) -> dict[str, list[CheckedPair]]:
    found: dict[str, list[CheckedPair]] = {}
    for split, pair in named:
        found.setdefault(split, []).append(CheckedPair(split, pair.stem, pair.image, pair.mask))
    return found
