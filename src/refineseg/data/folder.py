"""A data set of one's own: images/, masks/ and a small labels.yaml."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refineseg.channels import Channels
from refineseg.config.yaml import read_yaml
from refineseg.data.pictures.opening import needs_statistics
from refineseg.data.pictures.statistics import statistics
from refineseg.data.source import SPLITS, Sample, SegmentationData, folder_of_pictures, read_list
from refineseg.errors import ConfigError, InputError
from refineseg.labels import LabelMap

KEYS = frozenset({"root", "images", "masks", "classes", "ignore", "splits", "licence", "name", "statistics"})
VAL_SHARE = 10  # percent held out where a data set brings no split of its own


@dataclass(frozen=True)
class Description:
    """What a YAML file says of a data set, before any picture is looked at.

    Attributes:
        name: of the data set.
        root: folder that the pictures and masks are under.
        images: folder of pictures.
        masks: folder of masks.
        label_map: from raw mask values to train ids.
        lists: split name to a list file, as given; None if the file says nothing.
        places: where list files are looked for: under the root, else beside the YAML.
        licence: terms of the data.
        channels: what pictures of more than 8-bit RGB hold; None for RGB.
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


def open_folder(root: Path) -> SegmentationData:
    """ROOT/images, ROOT/masks and ROOT/labels.yaml."""
    if not root.is_dir():
        raise InputError(f"expected a folder with images/, masks/ and labels.yaml, found none at {root}")
    description = root / "labels.yaml"
    if not description.is_file():
        raise InputError(
            f"expected the class names in {description}, found no such file; "
            "write one with, for example, 'classes: [background, road]' and 'ignore: [255]'"
        )
    return open_yaml(description)


def open_yaml(path: Path, root: Path | None = None) -> SegmentationData:
    """A data set described by a YAML file, at ``root`` if that is given.

    Keys: ``classes`` (names, or name, color, raw), ``ignore`` (mask values that do not count), ``root`` (the
    YAML's folder if left out), ``images`` and ``masks`` (folder names), ``splits`` (split name to a list file,
    under the root or else beside the YAML), ``licence``, ``name``, ``statistics`` (channels.Channels, for
    pictures of more than 8-bit RGB; written by imports, measured on the training pictures where left out). Where
    there is no list, images/train, images/val and so on are the splits, else train.txt and val.txt with a stem a
    line, else every tenth picture by a hash of its name is for val.
    """
    described = read_description(path, root)
    splits = _splits(described)
    if not any(splits.values()):
        raise InputError(
            f"expected pictures in {described.images}, found none; put them there, masks of the same name in "
            f"{described.masks}"
        )
    data = SegmentationData(described.name, described.root, described.label_map, splits, described.licence)
    channels = described.channels or _measured(data)
    return data if channels is None else data.seen_as(channels)


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


def read_description(path: Path, root: Path | None = None) -> Description:
    """The YAML file of a data set; ConfigError, InputError or LabelError for one that cannot be used."""
    values = read_yaml(path)
    unknown = sorted(set(values) - KEYS)
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r} in {path}: known are {', '.join(sorted(KEYS))}")
    root = (path.parent / str(values.get("root", "."))).resolve() if root is None else root.resolve()
    return Description(
        name=str(values.get("name", "folder")),
        root=root,
        images=root / str(values.get("images", "images")),
        masks=root / str(values.get("masks", "masks")),
        label_map=LabelMap.from_dict({key: values[key] for key in ("classes", "ignore") if key in values}),
        lists=values.get("splits"),
        places=(root, path.parent),
        licence=str(values.get("licence", "unknown")),
        channels=_channels(path, values.get("statistics")),
    )


def _channels(path: Path, values: Any) -> Channels | None:
    if values is None:
        return None
    try:
        return Channels.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected 'statistics' as refineseg data import writes them, cannot use these: {error}"
        ) from error


def nested_splits(described: Description) -> list[str]:
    """The splits that are folders of their own under images/."""
    return [split for split in SPLITS if (described.images / split).is_dir()]


def split_lists(described: Description) -> dict[str, Path]:
    """List file by split: those that were given, else the train.txt, val.txt and test.txt that are there."""
    lists = described.lists
    if lists is None:
        lists = {split: f"{split}.txt" for split in SPLITS if (described.root / f"{split}.txt").is_file()}
    if not isinstance(lists, dict):
        raise InputError(f"expected 'splits' to give a list file per split, got {lists!r}")
    return {str(split): _find_list(str(file), described.places) for split, file in lists.items()}


def held_out(stems: Sequence[str]) -> set[str]:
    """The stems that are for validation where a data set brings no split: every tenth by a hash of its name."""
    chosen = {stem for stem in stems if _bucket(stem) < VAL_SHARE}
    if len(stems) > 1 and not chosen:  # too few for the share: hold one out
        chosen = {stems[-1]}
    return chosen


def _splits(described: Description) -> dict[str, tuple[Sample, ...]]:
    images, masks = described.images, described.masks
    if not images.is_dir():
        raise InputError(f"expected a folder with pictures, found none at {images}")
    nested = nested_splits(described)
    if nested and described.lists:
        raise InputError(
            f"expected 'splits' or folders such as {images / nested[0]}, got both: move the pictures up into "
            f"{images}, or leave 'splits' out"
        )
    if nested:
        return {split: _pair(folder_of_pictures(images / split), masks / split) for split in nested}
    samples = _pair(folder_of_pictures(images), masks)
    listed = split_lists(described)
    if listed:
        known = {sample.stem: sample for sample in samples}
        return {split: _listed(file, known, images) for split, file in listed.items()}
    validation = held_out([sample.stem for sample in samples])
    return {
        "train": tuple(sample for sample in samples if sample.stem not in validation),
        "val": tuple(sample for sample in samples if sample.stem in validation),
    }


def _pair(images: list[Path], masks: Path) -> tuple[Sample, ...]:
    """Pictures with the mask of the same stem; a picture without one is an error that names it."""
    if images and not masks.is_dir():
        raise InputError(f"expected a folder with masks, found none at {masks}")
    by_stem = {path.stem: path for path in folder_of_pictures(masks)} if images else {}
    unpaired = [path.name for path in images if path.stem not in by_stem]
    if unpaired:
        raise InputError(
            f"expected a mask of the same name in {masks} for every picture, {len(unpaired)} have none, "
            f"such as {unpaired[0]}"
        )
    return tuple(Sample(path.stem, path, by_stem[path.stem]) for path in images)


def _find_list(file: str, places: tuple[Path, Path]) -> Path:
    """A list file under the data's root, else beside the YAML."""
    return next((place / file for place in places if (place / file).is_file()), places[0] / file)


def _listed(path: Path, known: dict[str, Sample], images: Path) -> tuple[Sample, ...]:
    stems = [Path(line.split()[0]).name for line in read_list(path)]
    found = []
    for name in stems:
        sample = known.get(name) or known.get(Path(name).stem)
        if sample is None:
            raise InputError(f"{path} lists {name}, but {images} has no such picture")
        found.append(sample)
    return tuple(found)


def _bucket(stem: str) -> int:
    return int.from_bytes(hashlib.sha256(stem.encode()).digest()[:4], "big") % 100
