"""The files of a data set, faults included.

``open_data`` stops at the first fault; a check reports all of them. So data of the user's own that does not open
is listed by the same rules, without refusing anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refineseg.channels import Channels, Pixels, display_rgb
from refineseg.data.dataset import SegmentationData
from refineseg.data.description import FolderDescription, folders_of, read_description, readers
from refineseg.data.folder import list_folder
from refineseg.data.images import read_image, read_mask
from refineseg.data.registry import YAML, open_data
from refineseg.data.unused_files import UnusedFiles, find_unused
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

FLAT = frozenset({"camvid"})  # benchmarks whose folders hold their pairs and nothing else


@dataclass(frozen=True)
class CheckedPair:
    """A picture and its mask; None if it has none."""

    split: str
    stem: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class DatasetFiles:
    """The files of a data set, and those that do not fit together."""

    data: str  # data set as the user wrote it
    label_map: LabelMap  # from raw mask values to train ids
    pairs: tuple[CheckedPair, ...]  # pictures with their masks, in the order of the splits
    own: bool  # whether this is user data rather than a benchmark, so that splits and files can be changed
    no_mask: tuple[Path, ...] = ()  # pictures without a mask
    missing: tuple[tuple[Path, str], ...] = ()  # (list file, entry) without a picture
    repeated: tuple[Path, ...] = ()  # pictures that are in their split more than once
    unused: UnusedFiles = field(default_factory=UnusedFiles)  # other files in the folders
    refusal: str | None = None  # error of ``open_data``; None if the data set opens
    # the data set's own readers
    read_picture: Callable[[Path], Pixels] = field(default=read_image, repr=False)
    read_raw: Callable[[Path], NDArray[Any]] = field(default=read_mask, repr=False)
    channels: Channels | None = None  # what the pictures' channels hold; None for RGB

    def visible(self, pixels: Pixels) -> UInt8:
        """Pixels of a picture as RGB HxWx3."""
        return display_rgb(pixels, self.channels)

    def by_split(self) -> dict[str, list[CheckedPair]]:
        """The pairs of each split."""
        grouped: dict[str, list[CheckedPair]] = {}
        for pair in self.pairs:
            grouped.setdefault(pair.split, []).append(pair)
        return grouped


def find_files(spec: str | Path) -> DatasetFiles:
    """The files of a data set, given as for ``open_data``.

    InputError if nothing can be listed: no folder, no readable description, no pictures.
    """
    text = str(spec)
    description, refusal = _description(text), None
    missing: list[tuple[Path, str]] = []
    try:
        data = open_data(spec)
    except InputError as error:
        if description is None:
            raise
        # All that can be listed, and list entries without a picture.
        refusal, files = str(error), list_folder(description)
        missing = [(row.file, row.line) for row in files.rows if row.sample is None and row.file is not None]
        root, labels = description.root, description.label_map
        data = SegmentationData(description.name, root, labels, files.samples(), **readers(description))
    folders: list[tuple[Path, Path]] = []
    if description is not None:
        folders = folders_of(description)
    elif data.name in FLAT:
        pairs = {(s.image.parent, s.mask.parent) for items in data.splits.values() for s in items if s.mask}
        folders = sorted(pairs)
    return _listed(text, data, folders, description, refusal, missing)


def _description(text: str) -> FolderDescription | None:
    """The description of user data; None for a benchmark."""
    name, _, root = text.partition(":")
    yaml = YAML.fullmatch(text)
    if yaml:
        file, place = Path(yaml[1]).expanduser(), Path(yaml[2]).expanduser() if yaml[2] else None
    elif name == "folder":
        file, place = Path(root).expanduser() / "labels.yaml", None
    else:
        return None
    return read_description(file, place) if file.is_file() else None


def _listed(
    text: str,
    data: SegmentationData,
    folders: list[tuple[Path, Path]],
    described: FolderDescription | None,
    refusal: str | None,
    missing: list[tuple[Path, str]],
) -> DatasetFiles:
    """The samples of a data set, each once per split, and the other files in its folders."""
    pairs, no_mask, repeated = [], [], []
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
        raise InputError(refusal or f"none of the pictures that the lists of {data.root} name are there")
    used = {pair.image for pair in pairs}
    return DatasetFiles(
        data=text,
        label_map=data.label_map,
        pairs=tuple(pairs),
        own=described is not None,
        no_mask=tuple(no_mask),
        missing=tuple(missing),
        repeated=tuple(repeated),
        refusal=refusal,
        read_picture=data.read_picture,
        read_raw=data.read_raw,
        channels=data.channels,
        unused=find_unused(
            folders, used, described.root if described else None, described.images if described else None
        ),
    )
