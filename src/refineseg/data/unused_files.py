"""Files in a data set's folders that belong to no pair, judged by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refineseg.data.images import SUFFIXES
from refineseg.system.text import composed

# Frequent additions to names of masks (_L: CamVid's original form), and endings of names of pictures.
MASK_WORDS = (
    *("mask", "masks", "label", "labels", "gt", "seg", "segmentation", "annotation", "annotations"),
    *("groundtruth", "labelIds", "gtFine_labelIds", "L"),
)
PICTURE_WORDS = ("image", "img", "photo", "rgb", "leftImg8bit")


@dataclass(frozen=True)
class UnusedFiles:
    """Files that belong to no pair of the data set."""

    no_image: tuple[Path, ...] = ()  # masks without a picture
    unlisted: tuple[Path, ...] = ()  # pictures in no split list
    elsewhere: tuple[Path, ...] = ()  # pictures in folders that are not read, such as subfolders
    same_stem: tuple[tuple[Path, ...], ...] = ()  # groups of files in one folder that differ only in their suffix
    case: tuple[tuple[Path, ...], ...] = ()  # groups of files whose names differ only in letter case
    strays: tuple[Path, ...] = ()  # files of other types among pictures or masks
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
            f"skipped {len(files):,} {what}{'s' if len(files) > 1 else ''} {why}, such as {files[0]}"
            for what, files, why in kinds
            if files
        )


def find_unused(
    folders: Sequence[tuple[Path, Path]], used: Collection[Path], root: Path | None = None, top: Path | None = None
) -> UnusedFiles:
    """Other files in folders of pictures and their folders of masks.

    Pictures outside them are searched for in ``root``, the folder of user data, and below ``top``, that of its
    pictures.
    """
    no_image, unlisted, same_stem, case, strays, lonely = [], [], [], [], [], []
    read = {folder for pair in folders for folder in pair}
    for images, masks in folders:
        pictures, labels = group_by_stem(images), group_by_stem(masks)
        no_image += [path for stem, paths in labels.items() if stem not in pictures for path in paths]
        lonely += [stem for stem in pictures if stem not in labels]
        unlisted += [path for paths in pictures.values() for path in paths if path not in used]
        for group in (pictures, labels):
            same_stem += [tuple(paths) for paths in group.values() if len(paths) > 1]
        strays += _strays(images) + _strays(masks)
        case += _case_clashes(pictures, labels)
    places = [*(root.iterdir() if root else ()), *(top.rglob("*") if top else ())]
    masks_of = {masks for _, masks in folders}
    elsewhere = [
        path
        for path in sorted(set(places))
        if path.parent not in read and masks_of.isdisjoint(path.parents) and _is_picture(path)
    ]
    return UnusedFiles(
        no_image=tuple(no_image),
        unlisted=tuple(path for path in unlisted if all(path not in group for group in same_stem)),
        elsewhere=tuple(elsewhere),
        same_stem=tuple(same_stem),
        case=tuple(case),
        strays=tuple(strays),
        renamed=naming_style(lonely, {composed(path.stem) for path in no_image}),
    )


def group_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Pictures of a folder by stem (``composed``), several if only suffixes differ; none without a folder."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _is_picture(path):
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
                if stems and sum(style.replace("STEM", stem) in masks for stem in stems) * 2 > len(stems):
                    return style
    return ""


def _case_clashes(pictures: Mapping[str, list[Path]], labels: Mapping[str, list[Path]]) -> list[tuple[Path, ...]]:
    """Files of one folder, or a picture and its mask, whose stems differ only in letter case."""
    folded: defaultdict[str, set[str]] = defaultdict(set)
    for stem in [*pictures, *labels]:
        folded[stem.casefold()].add(stem)
    return [
        tuple(path for stem in sorted(stems) for path in [*pictures.get(stem, []), *labels.get(stem, [])])
        for stems in folded.values()
        if len(stems) > 1
    ]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "."


def _strays(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if path.suffix.lower() not in SUFFIXES)
