"""A data set: pictures with masks by split, and their label map."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import Channels, Pixels
from refineseg.data.images import SUFFIXES, read_image, read_mask
from refineseg.data.pictures.open_picture import read_channels, read_void
from refineseg.data.pictures.picture import void_of
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelMap, UInt8
from refineseg.system.files import read_file
from refineseg.system.text import composed, counted, decode_text

Named = TypeVar("Named")
T = TypeVar("T")
SPLITS: tuple[str, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """A picture and, unless it is unlabelled, its mask. The stem names it in results."""

    stem: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class SegmentationData:
    """A data set on disk."""

    name: str  # NAME in ``NAME:ROOT``
    root: Path  # folder of the data set
    label_map: LabelMap  # from raw mask values to train ids
    splits: Mapping[str, tuple[Sample, ...]]  # samples by split name, in a fixed order
    licence: str = "unknown"  # terms of the data, for model cards
    notes: tuple[str, ...] = ()  # what was skipped, left out or assumed, a line each
    # reader of mask files, as raw values
    read_raw: Callable[[Path], NDArray[Any]] = read_mask
    # reader of picture files, as RGB, or as raw values with ``channels``
    read_picture: Callable[[Path], Pixels] = read_image
    channels: Channels | None = None  # channels of the pictures; None for RGB

    def __repr__(self) -> str:
        splits = ", ".join(f"{len(samples)} {name}" for name, samples in self.splits.items())
        return f"SegmentationData({self.name}:{self.root}, {splits}, {counted(self.label_map.classes, 'class')})"

    def split(self, name: str) -> tuple[Sample, ...]:
        """The samples of a split; InputError if it is missing or empty."""
        samples = self.splits.get(name, ())
        if not samples:
            filled = [split for split, items in self.splits.items() if items]
            raise InputError(f"{self.name}:{self.root} has no pictures in split {name!r}; filled are: {filled}")
        return samples

    def check_classes(self, names: Sequence[str]) -> None:
        """InputError unless the data has a model's classes, in the same order."""
        if self.label_map.names != list(names):
            raise InputError(f"expected data with the model's classes {list(names)}, got {self.label_map.names}")

    def with_channels(self, channels: Channels | None, choice: tuple[int, ...] | None = None) -> SegmentationData:
        """The same data, with pictures read for the channels of a model; None for RGB.

        ``choice`` has 0-based indices of the files' channels, in order; None for all, or those marked as
        colours.
        """
        if channels == self.channels and choice is None:
            return self
        rgb = channels is None and choice is None
        reader = read_image if rgb else partial(read_channels, channels=channels, choice=choice)
        return replace(self, channels=channels, read_picture=reader)

    def read(self, sample: Sample) -> tuple[Pixels, UInt8]:
        """Picture HxWx3 uint8 RGB (raw values HxWxC with ``channels``) and train ids HxW uint8.

        Train ids are 255 where the picture has no data.

        Raises:
            InputError: unreadable file, missing mask, or mask and picture of different sizes.
            LabelError: mask values outside the label map, with file, values and counts.
        """
        image = self.read_picture(sample.image)
        if sample.mask is None:
            raise InputError(f"expected a mask: {sample.image} has none")
        labels = self.label_map.encode(self.read_raw(sample.mask), str(sample.mask))
        if labels.shape != image.shape[:2]:
            raise InputError(
                f"expected mask and picture of one size, got {_size(labels)} for {sample.mask} and "
                f"{_size(image)} for {sample.image}; export the mask again at the picture's size"
            )
        void = void_of(image) if self.channels is not None else read_void(sample.image)
        if void is not None:  # no data, no label
            labels = np.where(void, np.uint8(IGNORE), labels)
        return image, labels


def evenly_spaced(items: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the items, evenly spaced, from the first on."""
    count = min(most, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def folder_of_pictures(folder: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Pictures, or files with the given suffixes, of a folder by name; InputError if there is no such folder."""
    if not folder.is_dir():
        raise InputError(f"Folder not found: {folder}")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.name[0] != ".")


def read_list(path: Path) -> list[str]:
    """Non-empty lines of a split list."""
    try:
        lines = decode_text(read_file(path)).splitlines()
    except FileNotFoundError as error:
        raise InputError(f"File not found: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def find_listed(line: str, known: Mapping[str, Named]) -> Named | None:
    """The entry of ``known`` (by composed stem) that a line of a split list names.

    Either the whole line or its first word is the name, with or without folders and suffix.
    """
    for text in dict.fromkeys((line, line.split()[0])):
        name = composed(text).replace("\\", "/").rstrip("/").rpartition("/")[2]
        found = known.get(name) or known.get(name.rpartition(".")[0])
        if found is not None:
            return found
    return None


def _size(array: NDArray[Any]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
