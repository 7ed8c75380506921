"""A data set of one's own: images/, masks/ and a small labels.yaml."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from refineseg.channels import Channels
from refineseg.config.yaml import read_yaml
from refineseg.data.dataset import SPLITS, Sample, SegmentationData, find_listed, folder_of_pictures, read_list
from refineseg.data.leftovers import Leftovers, find_leftovers
from refineseg.data.mask_files import check_threshold, read_binary_mask
from refineseg.data.pictures.opening import needs_statistics, read_channels
from refineseg.data.pictures.statistics import statistics
from refineseg.data.splits.held_out import held_out
from refineseg.errors import ConfigError, InputError
from refineseg.labels import LabelMap
from refineseg.system.text import composed

KEYS = frozenset(
    {"root", "images", "masks", "classes", "ignore", "threshold", "splits", "licence", "name", "statistics"}
)


@dataclass(frozen=True)
class FolderDescription:
    """What a YAML file says of a data set, before any picture is looked at.

    Attributes:
        name: name of the data set.
        root: folder that the pictures and masks are under.
        images: folder of pictures.
        masks: folder of masks.
        label_map: from raw mask values to train ids.
        lists: split name to a list file, as given; None if the file says nothing.
        places: where list files are looked for: under the root, else beside the YAML.
        licence: terms of the data.
        channels: what pictures of more than 8-bit RGB hold; None for RGB.
        threshold: grey value from which a mask shows the second of two classes; None for masks of class numbers.
    """

    name: str
    root: Path
    images: Path
    masks: Path
    label_map: LabelMap
    lists: Any
    places: tuple[Path, Path]
    licence: str
    channels: Channels | None = None
    threshold: int | None = None


def open_folder(root: Path, *, drop_bad: bool = False) -> SegmentationData:
    """ROOT/images, ROOT/masks and ROOT/labels.yaml."""
    if not root.is_dir():
        raise InputError(f"Folder not found: {root}")
    description = root / "labels.yaml"
    if not description.is_file():
        raise InputError(
            f"File not found: {description} (expected the class names there); "
            "write one with, for example, 'classes: [background, road]' and 'ignore: [255]'"
        )
    return open_yaml(description, drop_bad=drop_bad)


def open_yaml(path: Path, root: Path | None = None, *, drop_bad: bool = False) -> SegmentationData:
    """A data set described by a YAML file, at ``root`` if that is given.

    Keys: ``classes`` (names, or name, color, raw), ``ignore`` (mask values that do not count), ``threshold`` (grey
    value from which a mask of any mode shows the second of two classes), ``root`` (the YAML's folder if left out),
    ``images`` and ``masks`` (folder names), ``splits`` (split name to a list file, under the root or else beside
    the YAML), ``licence``, ``name``, ``statistics`` (channels.Channels, for pictures of more than 8-bit RGB;
    written by imports, measured on the training pictures where left out). Where there is no list, images/train,
    images/val and so on are the splits, else train.txt and val.txt with a stem a line, else a tenth is held out
    for val, in whole groups (``groups.guess_groups``).

    Files that are skipped are counted in the data set's ``notes``. With ``drop_bad`` pictures without a mask and
    list entries without a picture are left out and noted, instead of an error.
    """
    described = read_description(path, root)
    left_out: list[str] = []
    splits, assumed = _splits(described, left_out if drop_bad else None)
    used = {sample.image for samples in splits.values() for sample in samples}
    if not used:
        raise InputError(
            f"no pictures in {described.images}; put them there, masks of the same names in {described.masks}"
        )
    leftovers = find_leftovers(folders_of(described), used, described.root, described.images)
    _refuse_clashes(leftovers)
    data = SegmentationData(
        described.name,
        described.root,
        described.label_map,
        splits,
        described.licence,
        notes=(*assumed, *left_out, *leftovers.notes()),
        **readers(described),
    )
    channels = described.channels or _measured(data)
    if channels is None or described.channels is not None:
        return data
    note = (
        f"pictures have {channels.count} channel{'s' if channels.count > 1 else ''} of {channels.dtype}: mean and "
        "deviation were measured on the training pictures ('statistics' in labels.yaml fixes them)"
    )
    return replace(data.seen_as(channels), notes=(*data.notes, note))


def _measured(data: SegmentationData) -> Channels | None:
    """The channels of pictures of more than 8 bits or of channels that are no colours; None for RGB.

    Only headers are read where the first picture is RGB.
    """
    files = [sample.image for sample in data.splits.get("train") or sum(data.splits.values(), ())]
    try:
        if not files or not all(needs_statistics(path) for path in files):
            return None
        return Channels.from_dict(statistics(files))
    except InputError:
        return None  # damaged or of several kinds: whoever reads them says which


def read_description(path: Path, root: Path | None = None) -> FolderDescription:
    """The YAML file of a data set; ConfigError, InputError or LabelError for one that cannot be used."""
    values = read_yaml(path)
    unknown = sorted(set(values) - KEYS)
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r} in {path}: known are {', '.join(sorted(KEYS))}")
    root = (path.parent / str(values.get("root", "."))).resolve() if root is None else root.resolve()
    label_map = LabelMap.from_dict({key: values[key] for key in ("classes", "ignore") if key in values})
    return FolderDescription(
        name=str(values.get("name", "folder")),
        root=root,
        images=root / str(values.get("images", "images")),
        masks=root / str(values.get("masks", "masks")),
        label_map=label_map,
        lists=values.get("splits"),
        places=(root, path.parent),
        licence=str(values.get("licence", "unknown")),
        channels=_channels(path, values.get("statistics")),
        threshold=_threshold(path, values.get("threshold"), label_map),
    )


def readers(described: FolderDescription) -> dict[str, Any]:
    """How pictures and masks of this data set are read, where not in the usual way: fields of SegmentationData."""
    fields: dict[str, Any] = {}
    if described.channels is not None:
        fields["channels"] = described.channels
        fields["read_picture"] = partial(read_channels, channels=described.channels)
    if described.threshold is not None:
        fields["read_raw"] = partial(read_binary_mask, threshold=described.threshold)
    return fields


def folders_of(described: FolderDescription) -> list[tuple[Path, Path]]:
    """Folders of pictures with their folders of masks: one pair, or one for each split that is a folder."""
    nested = nested_splits(described)
    if nested:
        return [(described.images / split, described.masks / split) for split in nested]
    return [(described.images, described.masks)]


def nested_splits(described: FolderDescription) -> list[str]:
    """The splits that are folders of their own under images/."""
    return [split for split in SPLITS if (described.images / split).is_dir()]


def split_lists(described: FolderDescription) -> dict[str, Path]:
    """List file by split: those that were given, else the train.txt, val.txt and test.txt that are there."""
    lists = described.lists
    if lists is None:
        lists = {split: f"{split}.txt" for split in SPLITS if (described.root / f"{split}.txt").is_file()}
    if not isinstance(lists, dict):
        raise InputError(f"expected 'splits' to give a list file per split, got {lists!r}")
    return {str(split): _find_list(str(file), described.places) for split, file in lists.items()}


def _splits(
    described: FolderDescription, left_out: list[str] | None
) -> tuple[dict[str, tuple[Sample, ...]], list[str]]:
    """Samples by split, and what was assumed. What is bad is noted in ``left_out``; an error if that is None."""
    images, masks = described.images, described.masks
    nested = nested_splits(described)
    if nested and described.lists:
        raise InputError(
            f"expected 'splits' or folders such as {images / nested[0]}, got both: move the pictures up into "
            f"{images}, or leave 'splits' out"
        )
    if nested:
        folders = {split: (images / split, masks / split) for split in nested}
        return {split: _pair(*folder, left_out) for split, folder in folders.items()}, []
    samples = _pair(images, masks, left_out)
    listed = split_lists(described)
    if listed:
        known = {sample.stem: sample for sample in samples}
        return {split: _listed(file, known, images, left_out) for split, file in listed.items()}, []
    validation = held_out([sample.stem for sample in samples])
    splits = {
        "train": tuple(sample for sample in samples if sample.stem not in validation),
        "val": tuple(sample for sample in samples if sample.stem in validation),
    }
    note = f"no split lists: {len(splits['val']):,} of {len(samples):,} pictures are held out as val"
    return splits, [f"{note} (refineseg data split writes lists)"] if samples else []


def _pair(images: Path, masks: Path, left_out: list[str] | None) -> tuple[Sample, ...]:
    """Pictures with the mask of the same stem."""
    pictures = folder_of_pictures(images)
    if pictures and not masks.is_dir():
        raise InputError(f"Folder not found: {masks} (with the masks of {images})")
    by_stem = {composed(path.stem): path for path in folder_of_pictures(masks)} if pictures else {}
    stems = {path: composed(path.stem) for path in pictures}
    unpaired = [path for path, stem in stems.items() if stem not in by_stem]
    if unpaired and left_out is None:
        style = find_leftovers([(images, masks)], set(pictures)).renamed
        hint = f"; masks seem to be called {style}: refineseg data import pairs such names" if style else ""
        raise InputError(
            f"expected a mask of the same name in {masks} for every picture, {len(unpaired)} have none, "
            f"such as {unpaired[0].name}{hint}"
        )
    if unpaired and left_out is not None:
        left_out.append(f"left out {len(unpaired):,} pictures without a mask, such as {unpaired[0]}")
    return tuple(Sample(stem, path, by_stem[stem]) for path, stem in stems.items() if stem in by_stem)


def _listed(path: Path, known: dict[str, Sample], images: Path, left_out: list[str] | None) -> tuple[Sample, ...]:
    """Samples that a list names, in its order."""
    names = read_list(path)
    found = {name: find_listed(name, known) for name in names}
    absent = [name for name, sample in found.items() if sample is None]
    if absent and left_out is None:
        raise InputError(f"{path} lists {absent[0]}, but {images} has no such picture")
    if absent and left_out is not None:
        left_out.append(f"left out {len(absent):,} lines of {path} without a usable picture, such as {absent[0]}")
    return tuple(sample for name in names if (sample := found[name]) is not None)


def _refuse_clashes(leftovers: Leftovers) -> None:
    """InputError where files of one folder differ only in their suffix: which pairs up would be left to chance."""
    if leftovers.same_stem:
        first, second, *_ = leftovers.same_stem[0]
        raise InputError(
            f"{first} and {second.name} differ only in their suffix ({len(leftovers.same_stem)} such names): keep "
            "one file of each name"
        )


def _find_list(file: str, places: tuple[Path, Path]) -> Path:
    """A list file under the data's root, else beside the YAML."""
    return next((place / file for place in places if (place / file).is_file()), places[0] / file)


def _channels(path: Path, values: Any) -> Channels | None:
    if values is None:
        return None
    try:
        return Channels.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected 'statistics' as refineseg data import writes them, cannot use these: {error}"
        ) from error


def _threshold(path: Path, value: Any, label_map: LabelMap) -> int | None:
    """The threshold, checked with the label map: two classes, of values 0 and 1."""
    if value is None:
        return None
    threshold = check_threshold(value, f"{path}: ")
    if [item.raw for item in label_map.classes] != [(0,), (1,)]:
        raise InputError(
            f"{path}: expected two classes without 'raw' beside 'threshold' (below it the first, from it on the "
            f"second), got {', '.join(f'{item.name}: {list(item.raw)}' for item in label_map.classes)}"
        )
    return threshold
