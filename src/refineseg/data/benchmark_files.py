"""Shared by the benchmarks: finding folders, lists and pairs, placing archive members, writing masks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.dataset import Sample, folder_of_pictures, read_list
from refineseg.data.preparation.archives import Place
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.files import atomic_path

NAME = r"[^/]+"  # pattern of a file or folder name
# Members of VOC 2010's archive for PASCAL-Context and Person-Part, and their places.
VOC2010 = (
    (r"VOC2010/(JPEGImages/[^/]+\.jpg)", r"VOCdevkit/VOC2010/\1"),
    (r"VOC2010/(ImageSets/Main/(?:train|val)\.txt)", r"VOCdevkit/VOC2010/\1"),
)
ALL = "all"  # the split of a folder without split lists


def entries(text: str) -> list[str]:
    """``"wall, night stand"`` to its parts."""
    return [" ".join(part.split()) for part in text.split(",")]


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


def by_stem(folder: Path | None, suffixes: Iterable[str] = ()) -> dict[str, Path]:
    """Pictures of a folder, or its files with the given suffixes, by stem; empty if the folder is None.

    InputError for files that differ only in their suffix.
    """
    if folder is None:
        return {}
    chosen = tuple(suffixes)
    files = (
        [path for path in sorted(folder.iterdir()) if path.suffix.lower() in chosen]
        if chosen
        else folder_of_pictures(folder)
    )
    found: dict[str, Path] = {}
    for path in files:
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
            f"of the {len(chosen)} listed pictures in {where}, {len(absent)} are not there, such as {absent[0]}"
        )
    return tuple(Sample(stem, images[stem], masks.get(stem)) for stem in chosen)


def need_masks(without: Sequence[str], where: str, split: str = "") -> None:
    """InputError if there are pictures without a mask."""
    if without:
        of = f" of {split}" if split else ""
        raise InputError(
            f"expected a mask in {where} for every picture{of}, {len(without)} have none, such as {without[0]}"
        )


def open_masked(
    root: Path, name: str, images: Sequence[str], masks: Sequence[str], lists: dict[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[Sample, ...]], dict[str, Path]]:
    """Splits and masks of a data set on VOC 2010, which has more pictures than were annotated."""
    pictures = by_stem(need_folder(root, f"{name}'s pictures", *images))
    folder = need_folder(root, f"{name}'s masks", *masks)
    found = by_stem(folder, (".png", ".mat"))
    if not found:
        raise InputError(f"no masks in {folder}: expected .png or .mat files")
    masked = {stem: path for stem, path in pictures.items() if stem in found}
    return listed_splits(root, lists, masked, found), found


def listed_splits(
    root: Path, lists: dict[str, tuple[str, ...]], images: dict[str, Path], masks: dict[str, Path]
) -> dict[str, tuple[Sample, ...]]:
    """Splits by the first existing list file of each; all pictures as ``all`` if there is none."""
    found = {split: first_file(root, *names) for split, names in lists.items()}
    splits = {split: pair(listed_stems(path), images, masks, root) for split, path in found.items() if path}
    return splits or {ALL: pair(sorted(images), images, masks, root)}


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


def write_raw_mask(path: Path, raw: NDArray[Any], label_map: LabelMap) -> None:
    """Raw values 0..255 HxW as a palette PNG with the colours of their classes."""
    palette = np.zeros((256, 3), np.uint8)
    for item in label_map.classes:
        for value in item.raw:
            palette[value] = item.color
    write_png(path, np.asarray(raw, np.uint8), palette)


def write_png(path: Path, array: NDArray[Any], palette: NDArray[np.uint8] | None = None) -> None:
    """An array HxW (with a palette Nx3) or HxWx3 as PNG, written atomically."""
    image = Image.fromarray(np.ascontiguousarray(array))
    if palette is not None:
        image.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
