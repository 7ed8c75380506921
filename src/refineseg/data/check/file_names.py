"""What lies in folders of pictures and masks, by name alone: partners, clashes, strays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refineseg.data.images import SUFFIXES
from refineseg.data.source import folder_of_pictures

# What masks' names often have more than their pictures' (CamVid's original form: _L).
AFFIXES = ("mask", "masks", "label", "labels", "gt", "seg", "segmentation", "annotation", "groundtruth", "L")


def beside(folders: list[tuple[Path, Path]], used: set[Path]) -> Mapping[str, Any]:
    """What else lies in the folders: files without a partner, clashing names, strays."""
    no_image, unlisted, same_stem, case, strays, lonely, extra = [], [], [], [], [], [], []
    for images, masks in folders:
        pictures, labels = by_stem(images), by_stem(masks)
        no_image += [path for stem, paths in labels.items() if stem not in pictures for path in paths]
        lonely += [stem for stem in pictures if stem not in labels]
        extra += [stem for stem in labels if stem not in pictures]
        unlisted += [path for paths in pictures.values() for path in paths if path not in used]
        for group in (pictures, labels):
            same_stem += [tuple(paths) for paths in group.values() if len(paths) > 1]
        strays += _strays(images) + _strays(masks)
        case += _case_clashes(pictures, labels)
    return {
        "no_image": tuple(no_image),
        "unlisted": tuple(path for path in unlisted if all(path not in group for group in same_stem)),
        "same_stem": tuple(same_stem),
        "case": tuple(case),
        "strays": tuple(strays),
        "renamed": _renaming(lonely, extra),
    }


def _case_clashes(pictures: Mapping[str, list[Path]], labels: Mapping[str, list[Path]]) -> list[tuple[Path, ...]]:
    """Files of one folder, or a picture and its mask, whose stems differ only in letter case."""
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for stem in [*pictures, *labels]:
        folded[stem.casefold()].add(stem)
    clashes = [sorted(stems) for stems in folded.values() if len(stems) > 1]
    return [
        tuple(path for stem in stems for path in [*pictures.get(stem, []), *labels.get(stem, [])])
        for stems in clashes
    ]


def _renaming(lonely: list[str], extra: list[str]) -> str:
    """The affix that turns the stems of most lonely pictures into those of lonely masks, such as STEM_mask."""
    masks = set(extra)
    for word in AFFIXES:
        for style in (
            f"STEM_{word}",
            f"STEM-{word}",
            f"STEM.{word}",
            f"STEM{word}",
            f"{word}_STEM",
            f"{word}-STEM",
        ):
            hits = sum(style.replace("STEM", stem) in masks for stem in lonely)
            if lonely and hits * 2 > len(lonely):
                return style
    return ""


def pictures_in(folder: Path) -> list[Path]:
    """Pictures of a folder in the order of their names; none if there is no such folder."""
    return folder_of_pictures(folder) if folder.is_dir() else []


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """Pictures of a folder by stem; more than one where they differ in their suffix."""
    found: dict[str, list[Path]] = {}
    for path in pictures_in(folder):
        found.setdefault(path.stem, []).append(path)
    return found


def _strays(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if path.suffix.lower() not in SUFFIXES)
