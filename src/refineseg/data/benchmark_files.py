"""Shared by the benchmarks: finding folders, lists and samples, placing archive members, writing masks."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.dataset import SPLITS, Sample, folder_of_pictures, read_list
from refineseg.data.images import SUFFIXES
from refineseg.data.preparation.archives import Place
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.files import atomic_path
from refineseg.system.text import counted

NAME = r"[^/]+"  # pattern of a file or folder name
# Members of VOC 2010's archive for PASCAL-Context and Person-Part, and their places.
VOC2010 = (
    (r"VOC2010/(JPEGImages/[^/]+\.jpg)", r"VOCdevkit/VOC2010/\1"),
    (r"VOC2010/(ImageSets/Main/(?:train|val)\.txt)", r"VOCdevkit/VOC2010/\1"),
)
VOC2010_PICTURES = ("images", "VOCdevkit/VOC2010/JPEGImages", "VOC2010/JPEGImages", "JPEGImages")
ALL = "all"  # the split of a folder without split lists


def entries(text: str) -> list[str]:
    """``"wall, night stand"`` to its parts."""
    return [" ".join(part.split()) for part in text.split(",")]


def class_table(text: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Entries such as ``human: person 24 220 20 60, rider 25 255 0 0`` to the numbers of each name, by group."""
    table: dict[str, dict[str, tuple[int, ...]]] = {}
    for group, row in re.findall(r"(\w+): ([^:]+)\n", text):
        table[group] = {}
        for words in map(str.split, row.split(",")):
            name = " ".join(word for word in words if not word.isdigit())
            table[group][name] = tuple(int(word) for word in words if word.isdigit())
    return table


def first_folder(root: Path, *names: str) -> Path | None:
    """The first of several paths that is a folder."""
    return next((root / name for name in names if (root / name).is_dir()), None)


def need_folder(root: Path, what: str, *names: str) -> Path:
    """The first of several paths that is a folder; InputError if there is none."""
    found = first_folder(root, *names)
    if found is None:
        raise InputError(f"{root} does not hold {what}: expected the folder {' or '.join(names)}")
    return found


def first_file(root: Path, *names: str) -> Path | None:
    """The first of several paths that is a file."""
    return next((root / name for name in names if (root / name).is_file()), None)


def listed_stems(path: Path) -> list[str]:
    """Stems in a list with a stem or path per line, possibly followed by the mask's path."""
    return [Path(line.split()[0]).stem for line in read_list(path)]


def by_stem(folder: Path | None, suffixes: Collection[str] = SUFFIXES) -> dict[str, Path]:
    """Pictures of a folder, or its files with the given suffixes, by stem; empty if the folder is None.

    InputError for files that differ only in their suffix.
    """
    found: dict[str, Path] = {}
    for path in folder_of_pictures(folder, suffixes) if folder is not None else ():
        other = found.setdefault(path.stem, path)
        if other is not path:
            raise InputError(f"{other} and {path.name} differ only in their suffix: keep one of them")
    return found


def pair(stems: Iterable[str], images: dict[str, Path], masks: dict[str, Path], where: Path) -> tuple[Sample, ...]:
    """Samples of the given stems. InputError for a missing picture; a missing mask is None."""
    chosen = list(stems)
    absent = [stem for stem in chosen if stem not in images]
    if absent:
        raise InputError(
            f"{len(absent)} of {counted(chosen, 'picture')} listed in {where} not found, such as {absent[0]}"
        )
    return tuple(Sample(stem, images[stem], masks.get(stem)) for stem in chosen)


def need_masks(splits: Mapping[str, Sequence[Sample]], where: str, unlabelled: str = "") -> None:
    """InputError if there are pictures without a mask in a split other than ``unlabelled``."""
    for split, samples in splits.items():
        without = [sample.image.name for sample in samples if sample.mask is None]
        if without and split != unlabelled:
            raise InputError(
                f"expected a mask in {where} for every picture of {split}, found none for {len(without)}, such as "
                f"{without[0]}"
            )


def open_masked(
    root: Path, name: str, masks: Sequence[str], list_folders: Sequence[str]
) -> tuple[dict[str, tuple[Sample, ...]], dict[str, Path]]:
    """Splits and masks of a data set on VOC 2010, which has more pictures than were annotated."""
    pictures = by_stem(need_folder(root, f"{name}'s pictures", *VOC2010_PICTURES))
    folder = need_folder(root, f"{name}'s masks", *masks)
    found = by_stem(folder, (".png", ".mat"))
    if not found:
        raise InputError(f"no masks in {folder}: expected .png or .mat files")
    masked = {stem: path for stem, path in pictures.items() if stem in found}
    lists = {
        split: [f"{place}/{split}{ending}" for place in list_folders for ending in (".txt", "_id.txt")]
        for split in ("train", "val")
    }
    return listed_splits(root, lists, masked, found), found


def listed_splits(
    root: Path,
    lists: Mapping[str, Sequence[str]],
    images: dict[str, Path],
    masks: dict[str, Path],
    split_of: Callable[[str], str] = lambda _stem: ALL,
) -> dict[str, tuple[Sample, ...]]:
    """Splits by the first existing list file of each; without lists, of all pictures by their stem."""
    found = {split: first_file(root, *names) for split, names in lists.items()}
    stems = {split: listed_stems(path) for split, path in found.items() if path}
    if not stems:
        stems = {split: [stem for stem in sorted(images) if split_of(stem) == split] for split in (*SPLITS, ALL)}
    return {split: pair(chosen, images, masks, root) for split, chosen in stems.items() if chosen}


def places(*pairs: tuple[str, str]) -> Place:
    """Places by patterns: the first that matches the end of ARCHIVE/MEMBER gives the path, with groups as \\1."""
    compiled = [(re.compile(rf"(?:.*/)?{pattern}"), target) for pattern, target in pairs]

    def place(archive: str, member: str) -> str | None:
        for pattern, target in compiled:
            found = pattern.fullmatch(f"{archive}/{member}")
            if found:
                return found.expand(target)
        return None

    return place


def given_file(name: str, root: Path, sources: Sequence[Path]) -> Path | None:
    """A .mat file among those given, or under the root."""
    places = [
        *(path for path in sources if path.name == name),
        root / name,
        root / "SUNRGBDtoolbox/Metadata" / name,
    ]
    return next((path for path in places if path.is_file()), None)


def write_png(path: Path, values: NDArray[Any], label_map: LabelMap | None = None) -> None:
    """A picture HxWx3, or raw mask values HxW with the colours of their classes, as PNG, written atomically."""
    image = Image.fromarray(np.ascontiguousarray(values, np.uint8))
    if label_map is not None:
        palette = np.zeros((256, 3), np.uint8)
        for item in label_map.classes:
            for value in item.raw:
                palette[value] = item.color
        image.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
