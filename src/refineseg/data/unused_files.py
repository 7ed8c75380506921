"""Files in a data set's folders that belong to no sample, judged by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from refineseg.data.dataset import folder_of_pictures
from refineseg.data.images import MASK_SUFFIXES, SUFFIXES
from refineseg.system.text import composed, counted

# Frequent additions to names of masks (_L: CamVid's original form), and endings of names of pictures.
MASK_WORDS = (
    *("mask", "masks", "label", "labels", "gt", "seg", "segmentation", "annotation", "annotations"),
    *("groundtruth", "labelIds", "gtFine_labelIds", "L"),
)
PICTURE_WORDS = ("image", "img", "photo", "rgb", "leftImg8bit")


@dataclass
class UnusedFiles:
    """Files in the folders of a data set that belong to no sample."""

    no_image: list[Path] = field(default_factory=list)  # masks without a picture
    unlisted: list[Path] = field(default_factory=list)  # pictures in no split list
    elsewhere: list[Path] = field(default_factory=list)  # pictures in folders that are not read
    same_stem: list[list[Path]] = field(default_factory=list)  # groups that differ only in their suffix, by folder
    case: list[list[Path]] = field(default_factory=list)  # groups whose names differ only in letter case
    strays: list[Path] = field(default_factory=list)  # files of other types among pictures or masks
    renamed: str = ""  # likely naming scheme of masks ("STEM_mask") if most pictures have none, else ""

    def notes(self) -> tuple[str, ...]:
        """A line per kind of skipped file, with number and example."""
        kinds = (
            ("picture", self.elsewhere, "in folders that are not read"),
            ("picture", self.unlisted, "in no split's list"),
            ("mask", self.no_image, "without a picture"),
            ("file", self.strays, "of a kind that is not read"),
        )
        return tuple(
            f"skipped {counted(files, what)} {why}, such as {files[0]}" for what, files, why in kinds if files
        )


def find_unused(
    folders: Sequence[tuple[Path, Path]], used: Collection[Path], root: Path | None = None, top: Path | None = None
) -> UnusedFiles:
    """Other files in folders of pictures and their folders of masks.

    Pictures outside them are searched for in ``root``, the folder of user data, and below ``top``, that of its
    pictures.
    """
    found, lonely = UnusedFiles(), []
    for images, masks in folders:
        pictures, labels = group_by_stem(images), group_by_stem(masks, MASK_SUFFIXES)
        lonely += [stem for stem in pictures if stem not in labels]
        found.no_image += [path for stem, paths in labels.items() if stem not in pictures for path in paths]
        several = [paths for group in (pictures, labels) for paths in group.values() if len(paths) > 1]
        found.same_stem += several
        listed = {*used, *chain(*several)}
        found.unlisted += [path for path in chain(*pictures.values()) if path not in listed]
        found.strays += _strays(images, SUFFIXES) + _strays(masks, MASK_SUFFIXES)
        found.case += _case_clashes(pictures, labels)
    read, masks_of = set(chain(*folders)), {masks for _, masks in folders}
    places = [*(root.iterdir() if root else ()), *(top.rglob("*") if top else ())]
    pictures_there = sorted({path for path in places if path.suffix.lower() in SUFFIXES and path.name[0] != "."})
    found.elsewhere = [
        path for path in pictures_there if path.parent not in read and masks_of.isdisjoint(path.parents)
    ]
    found.renamed = naming_style(lonely, {composed(path.stem) for path in found.no_image})
    return found


def group_by_stem(folder: Path, suffixes: Collection[str] = SUFFIXES) -> dict[str, list[Path]]:
    """Pictures of a folder by stem (``composed``), several if only suffixes differ; none without a folder."""
    found: dict[str, list[Path]] = {}
    for path in folder_of_pictures(folder, suffixes) if folder.is_dir() else []:
        found.setdefault(composed(path.stem), []).append(path)
    return found


def naming_style(pictures: Sequence[str], masks: Collection[str]) -> str:
    """Naming scheme of most masks if it is not the picture's stem: ``STEM_mask``; "" if there is none."""
    words = [f"_{word}" for word in PICTURE_WORDS]
    bare = [next((stem.removesuffix(word) for word in words if stem.endswith(word)), stem) for stem in pictures]
    for word in MASK_WORDS:
        after = (f"STEM{joint}{word}" for joint in ("_", "-", ".", ""))
        for style in (*after, f"{word}_STEM", f"{word}-STEM"):
            for stems in (pictures, bare):
                if sum(style.replace("STEM", stem) in masks for stem in stems) * 2 > len(stems):
                    return style
    return ""


def _case_clashes(pictures: Mapping[str, list[Path]], labels: Mapping[str, list[Path]]) -> list[list[Path]]:
    """Files of one folder, or a picture and its mask, whose stems differ only in letter case."""
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for stem in [*pictures, *labels]:
        folded[stem.casefold()].add(stem)
    return [
        [path for stem in sorted(stems) for path in [*pictures.get(stem, []), *labels.get(stem, [])]]
        for stems in folded.values()
        if len(stems) > 1
    ]


def _strays(folder: Path, suffixes: Collection[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if path.suffix.lower() not in suffixes)
