"""The files of a data set, faults included.

``open_data`` stops at the first fault; a check reports all of them. User data that does not
open is therefore listed by the same rules, without refusing anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from refineseg.channels import Pixels, display_rgb
from refineseg.data.dataset import SegmentationData
from refineseg.data.description import FolderDescription, folders_of, read_description, readers
from refineseg.data.folder import list_folder
from refineseg.data.registry import YAML, open_data
from refineseg.data.unused_files import UnusedFiles, find_unused
from refineseg.errors import InputError
from refineseg.labels import UInt8
from refineseg.system.files import expanded

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

    data: SegmentationData  # the data set, as far as it can be opened
    pairs: tuple[CheckedPair, ...]  # pictures with their masks, in the order of the splits
    own: bool  # whether this is user data rather than a benchmark, so that splits and files can be changed
    missing: tuple[tuple[Path, str], ...] = ()  # (list file, entry) without a picture
    repeated: tuple[Path, ...] = ()  # pictures that are in their split more than once
    unused: UnusedFiles = field(default_factory=UnusedFiles)  # other files in the folders
    refusal: str | None = None  # error of ``open_data``; None if the data set opens

    @property
    def no_mask(self) -> list[Path]:
        """Pictures without a mask."""
        return [pair.image for pair in self.pairs if pair.mask is None]

    def visible(self, pixels: Pixels) -> UInt8:
        """Pixels of a picture as RGB HxWx3."""
        return display_rgb(pixels, self.data.channels)

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
    description, refusal = _description(str(spec)), None
    missing: list[tuple[Path, str]] = []
    try:
        data = open_data(spec)
    except InputError as error:
        if description is None:
            raise
        # All that can be listed, and list entries without a picture.
        refusal, files = str(error), list_folder(description)
        rows = chain.from_iterable(files.rows.values())
        missing = [(row.file, row.line) for row in rows if row.sample is None and row.file is not None]
        root, labels = description.root, description.label_map
        data = SegmentationData(description.name, root, labels, files.samples(), **readers(description))
    folders: list[tuple[Path, Path]] = []
    if description is not None:
        folders = folders_of(description)
    elif data.name in FLAT:
        parents = {(s.image.parent, s.mask.parent) for items in data.splits.values() for s in items if s.mask}
        folders = sorted(parents)
    pairs, repeated = _pairs_of(data, missing)
    if not pairs:
        raise InputError(refusal or f"none of the pictures in the lists of {data.root} exist")
    places = (description.root, description.images) if description else (None, None)
    unused = find_unused(folders, {pair.image for pair in pairs}, *places)
    own = description is not None
    return DatasetFiles(data, tuple(pairs), own, tuple(missing), tuple(repeated), unused, refusal)


def _description(text: str) -> FolderDescription | None:
    """The description of user data; None for a benchmark."""
    name, _, root = text.partition(":")
    yaml = YAML.fullmatch(text)
    if yaml:
        file, place = expanded(yaml[1]), expanded(yaml[2]) if yaml[2] else None
    elif name == "folder":
        file, place = expanded(root) / "labels.yaml", None
    else:
        return None
    return read_description(file, place) if file.is_file() else None


def _pairs_of(data: SegmentationData, missing: list[tuple[Path, str]]) -> tuple[list[CheckedPair], list[Path]]:
    """The samples of a data set, each once per split, and repeated pictures; adds to the ``missing`` ones."""
    pairs, repeated = [], []
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
            pairs.append(CheckedPair(split, sample.stem, sample.image, mask))
    return pairs, repeated
