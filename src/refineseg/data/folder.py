"""User data: images/, masks/ and a labels.yaml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from refineseg.channels import Channels
from refineseg.data.dataset import Sample, SegmentationData, find_listed, folder_of_pictures, read_list
from refineseg.data.description import (
    FolderDescription,
    folders_of,
    nested_splits,
    read_description,
    readers,
    split_lists,
)
from refineseg.data.images import MASK_SUFFIXES
from refineseg.data.mask_arrays import SUFFIXES as ARRAYS
from refineseg.data.pictures.open_picture import needs_statistics
from refineseg.data.pictures.statistics import statistics
from refineseg.data.splits.held_out import held_out
from refineseg.data.unused_files import find_unused, group_by_stem
from refineseg.errors import InputError
from refineseg.system.text import counted


class ListedSample(NamedTuple):
    """An entry of a split: its picture (None if the list names none), and the file and line of the list."""

    sample: Sample | None
    file: Path | None = None
    line: str = ""


@dataclass(frozen=True)
class FolderFiles:
    """The content of a described folder, faults included."""

    rows: dict[str, list[ListedSample]]  # entries by split, in their order
    pictures: list[list[Sample]]  # all pictures of each folder
    notes: tuple[str, ...] = ()  # what was assumed

    def samples(self) -> dict[str, tuple[Sample, ...]]:
        """Pictures by split, with or without a mask."""
        return {split: tuple(row.sample for row in rows if row.sample) for split, rows in self.rows.items()}


def open_folder(root: Path, *, drop_bad: bool = False) -> SegmentationData:
    """ROOT/images, ROOT/masks and ROOT/labels.yaml."""
    description = root / "labels.yaml"
    if not description.is_file():
        raise InputError(
            f"File not found: {description} (expected the class names there); "
            "write one with, for example, 'classes: [background, road]' and 'ignore: [255]'"
        )
    return open_yaml(description, drop_bad=drop_bad)


def open_yaml(path: Path, root: Path | None = None, *, drop_bad: bool = False) -> SegmentationData:
    """A data set described by a YAML file, at ``root`` if given.

    Keys: ``classes`` (names, or name, color, raw), ``ignore`` (ignored mask values), ``threshold`` (grey value
    from which a pixel is the second of two classes), ``root`` (default: the folder of the YAML), ``images`` and
    ``masks`` (folder names), ``splits`` (split name to list file, under the root or next to the YAML),
    ``licence``, ``name``, ``statistics`` (channels.Channels, for pictures beyond 8-bit RGB; default: measured on
    the training pictures). Without ``splits``, these are the folders images/train, images/val ..., else train.txt
    and val.txt with a stem per line; else a tenth is held out for val, in whole groups (``splits.groups``).

    Skipped files are counted in ``notes``. With ``drop_bad`` pictures without a mask and list entries without a
    picture are left out and noted; else they are an error.
    """
    described = read_description(path, root)
    _check_layout(described)
    files = list_folder(described)
    left_out = _unusable(described, files, drop_bad)
    splits = {split: tuple(s for s in samples if s.mask) for split, samples in files.samples().items()}
    used = {sample.image for samples in splits.values() for sample in samples}
    if not used:
        arrays = folder_of_pictures(described.images, ARRAYS) if described.images.is_dir() else []
        hint = f": save {arrays[0].name} and the like as PNG or TIFF" if arrays else ""
        raise InputError(
            f"no pictures in {described.images}; put them there{hint}, masks of the same names in "
            f"{described.masks}"
        )
    unused = find_unused(folders_of(described), used, described.root, described.images)
    if unused.same_stem:
        first, second, *_ = unused.same_stem[0]
        raise InputError(
            f"{first} and {second.name} differ only in their suffix ({counted(unused.same_stem, 'such name')}): "
            "keep one file of each name"
        )
    data = SegmentationData(
        described.name,
        described.root,
        described.label_map,
        splits,
        described.licence,
        notes=(*files.notes, *left_out, *unused.notes()),
        **readers(described),
    )
    channels = _measured(data) if described.channels is None else None
    if channels is None:
        return data
    note = (
        f"pictures have {counted(channels.count, 'channel')} of {channels.dtype}: mean and "
        "deviation were measured on the training pictures ('statistics' in labels.yaml fixes them)"
    )
    return replace(data.with_channels(channels), notes=(*data.notes, note))


def _measured(data: SegmentationData) -> Channels | None:
    """The channels of pictures with more than 8 bits or channels that are not colours; None for RGB.

    Only the first header is read if that is RGB.
    """
    files = [sample.image for sample in data.splits.get("train") or sum(data.splits.values(), ())]
    try:
        if not files or not all(needs_statistics(path) for path in files):
            return None
        return Channels.from_dict(statistics(files))
    except InputError:
        return None  # damaged or of different kinds: reported when they are read


def list_folder(described: FolderDescription) -> FolderFiles:
    """The pictures of every split with the masks of their names, if any; accepts faults."""
    pictures = []
    for images, masks in folders_of(described):
        by_stem = group_by_stem(masks, MASK_SUFFIXES)  # of several files of one stem the last by name is taken
        found = group_by_stem(images).items()
        pictures.append([Sample(stem, paths[-1], by_stem.get(stem, [None])[-1]) for stem, paths in found])
    nested = nested_splits(described)
    if nested:
        rows = [[ListedSample(sample) for sample in samples] for samples in pictures]
        return FolderFiles(dict(zip(nested, rows, strict=True)), pictures)
    (samples,) = pictures
    lists = split_lists(described)
    if lists:
        known = {sample.stem: sample for sample in samples}
        listed = {
            split: [ListedSample(find_listed(line, known), file, line) for line in read_list(file)]
            for split, file in lists.items()
        }
        return FolderFiles(listed, pictures)
    validation = held_out([sample.stem for sample in samples if sample.mask is not None])
    train = [ListedSample(sample) for sample in samples if sample.stem not in validation]
    val = [ListedSample(sample) for sample in samples if sample.stem in validation]
    paired = sum(sample.mask is not None for sample in samples)
    note = f"no split lists: held out {len(validation):,} of {counted(paired, 'picture')} as val"
    notes = (f"{note} (refineseg data split writes lists)",) if samples else ()
    return FolderFiles({"train": train, "val": val}, pictures, notes)


def _check_layout(described: FolderDescription) -> None:
    """InputError where folders are missing, or splits are given twice."""
    nested = nested_splits(described)
    if nested and described.lists:
        raise InputError(
            f"expected 'splits' or folders such as {described.images / nested[0]}, got both: move the pictures up "
            f"into {described.images}, or leave 'splits' out"
        )
    for images, masks in folders_of(described):
        if folder_of_pictures(images) and not masks.is_dir():
            raise InputError(f"Folder not found: {masks} (with the masks of {images})")


def _unusable(described: FolderDescription, files: FolderFiles, drop_bad: bool) -> list[str]:
    """Notes on pictures without a mask and list entries without a picture; InputError unless ``drop_bad``."""
    notes = []
    for (images, masks), samples in zip(folders_of(described), files.pictures, strict=True):
        unpaired = [sample.image for sample in samples if sample.mask is None]
        if unpaired and not drop_bad:
            style = find_unused([(images, masks)], {sample.image for sample in samples}).renamed
            hint = f"; masks seem to be called {style}: refineseg data import pairs such names" if style else ""
            raise InputError(
                f"expected a mask of the same name in {masks} for every picture, found none for {len(unpaired)}, "
                f"such as {unpaired[0].name}{hint}"
            )
        if unpaired:
            notes.append(f"left out {counted(unpaired, 'picture')} without a mask, such as {unpaired[0]}")
    absent: dict[Path, dict[str, None]] = {}
    for row in chain.from_iterable(files.rows.values()):
        if row.file is not None and (row.sample is None or row.sample.mask is None):
            absent.setdefault(row.file, {})[row.line] = None
    for file, lines in absent.items():
        first = next(iter(lines))
        if not drop_bad:
            raise InputError(f"{file} lists {first}, but {described.images} has no such picture")
        notes.append(f"left out {counted(lines, 'line')} of {file} without a usable picture, such as {first}")
    return notes
