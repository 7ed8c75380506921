"""The description of user data: labels.yaml, and the folders and lists that it names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from os.path import lexists
from pathlib import Path
from typing import Any

from refineseg.channels import Channels
from refineseg.config.yaml import read_yaml
from refineseg.data.dataset import SPLITS
from refineseg.data.images import check_threshold, read_binary_mask
from refineseg.data.pictures.open_picture import read_channels
from refineseg.errors import ConfigError, InputError
from refineseg.labels import LabelMap

KEYS = frozenset(
    {"root", "images", "masks", "classes", "ignore", "threshold", "splits", "licence", "name", "statistics"}
)


@dataclass(frozen=True)
class FolderDescription:
    """Content of a data set's YAML file."""

    name: str  # name of the data set
    # its folder, and those of pictures and masks
    root: Path
    images: Path
    masks: Path
    label_map: LabelMap  # from raw mask values to train ids
    lists: Any  # split name to list file, as given, or None
    places: tuple[Path, Path]  # where list files are searched: the root, then the folder of the YAML
    licence: str  # terms of the data
    channels: Channels | None = None  # channels of the pictures; None for 8-bit RGB
    # grey value from which a pixel is the second of two classes; None for masks of class numbers
    threshold: int | None = None


def read_description(path: Path, root: Path | None = None) -> FolderDescription:
    """The YAML file of a data set; ConfigError, InputError or LabelError if it is invalid."""
    values = read_yaml(path)
    unknown = sorted(set(values) - KEYS)
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r} in {path}: known are {', '.join(sorted(KEYS))}")
    root = (path.parent / str(values.get("root", "."))).resolve() if root is None else root.resolve()
    label_map = LabelMap.from_dict({key: values[key] for key in ("classes", "ignore") if key in values})
    return FolderDescription(
        name=str(values.get("name", root.name)),
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
    """Non-default readers of pictures and masks, as fields of SegmentationData."""
    fields: dict[str, Any] = {}
    if described.channels is not None:
        fields["channels"] = described.channels
        fields["read_picture"] = partial(read_channels, channels=described.channels)
    if described.threshold is not None:
        fields["read_raw"] = partial(read_binary_mask, threshold=described.threshold)
    return fields


def folders_of(described: FolderDescription) -> list[tuple[Path, Path]]:
    """Folders of pictures and masks: one of each, or one per split that is a folder."""
    nested = nested_splits(described)
    if nested:
        return [(described.images / split, described.masks / split) for split in nested]
    return [(described.images, described.masks)]


def nested_splits(described: FolderDescription) -> list[str]:
    """Splits that are folders under images/."""
    return [split for split in SPLITS if (described.images / split).is_dir()]


def split_lists(described: FolderDescription) -> dict[str, Path]:
    """List file by split: those given, else existing train.txt, val.txt and test.txt."""
    lists = described.lists
    if lists is None:
        lists = {split: f"{split}.txt" for split in SPLITS if lexists(described.root / f"{split}.txt")}
    if not isinstance(lists, dict):
        raise InputError(f"expected 'splits' to give a list file per split, got {lists!r}")
    found = {}
    for split, file in lists.items():
        candidates = [place / str(file) for place in described.places]
        found[str(split)] = next((path for path in candidates if path.is_file()), candidates[0])
    return found


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
