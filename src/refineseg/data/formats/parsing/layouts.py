"""Layouts of pictures and masks: images/ and masks/ at any depth, or side by side; others by a guess."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from refineseg.data.formats.parsing.find_pictures import IMAGE_FOLDERS, SPLIT_WORDS, walk_pictures
from refineseg.data.images import MASK_SUFFIXES, SUFFIXES
from refineseg.data.mask_arrays import SUFFIXES as ARRAYS

# The first that is there wins: with retina vessels (1st_manual, manual1) mask/ is the field of view.
MASK_FOLDERS = (
    "1st_manual", "manual1", "masks", "mask", "labels", "label", "annotations", "annotation", "annot",
    "SegmentationClass", "SegmentationClassPNG", "SegmentationClassRaw", "gt", "gtFine", "gtCoarse",
    "ground_truth", "groundtruth", "segmentation", "segmentations", "ann_dir",
)  # fmt: skip
# Endings of mask names; if a picture has several masks, the first ending wins.
MASK_ENDINGS = (
    "_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_L", "_seg", "_segmentation", "_annotation",
    "_labelIds", "_gtFine_labelIds", "_gtCoarse_labelIds", "_gtFine_labelTrainIds", "_gtFine_color",
    "_manual1", "_1stHO", "_manual2", "_2ndHO",
)  # fmt: skip
UNUSED_ENDINGS = ("_gtFine_instanceIds", "_gtFine_instanceTrainIds", "_gtCoarse_instanceIds")
IMAGE_ENDINGS = ("_leftImg8bit", "_image", "-image", "_img", "_rgb", "_sat", "_training", "_test")
PAIRED_FOLDERS = ("_masks", "_mask", "_labels", "_label", "_annotations", "_annot", "annot", "_gt")
MASK_WORDS = frozenset({
    "mask", "masks", "label", "labels", "annotation", "annotations", "annot", "gt", "truth", "groundtruth",
    "segmentation", "segmentations", "manual",
})  # fmt: skip
IMAGE_WORDS = frozenset(
    {"image", "images", "img", "imgs", "input", "inputs", "photos", "pictures", "original", "rgb"}
)
JPEG = frozenset({".jpg", ".jpeg"})
DEPTH = 3  # largest number of folders between the source and images/


@dataclass(frozen=True)
class Layout:
    """A folder of pictures, the folder of their masks (the same if they lie side by side), and their split."""

    images: Path
    masks: Path
    split: str | None
    guess: str = ""  # a note on how it was guessed, if it was
    mask_suffixes: Collection[str] = ()  # that tell masks from pictures in one folder, if endings do not


def find_layouts(src: Path, depth: int = DEPTH) -> list[Layout]:
    """Layouts in a folder or its subfolders: images/ and masks/, train/ and train_masks/, or side by side."""
    if not src.is_dir() or (src / "_classes.csv").is_file():
        return []
    folders = {child.name: child for child in sorted(src.iterdir()) if child.is_dir() and child.name[0] != "."}
    images = _first(folders, IMAGE_FOLDERS)
    masks = _first(folders, MASK_FOLDERS) or _first(folders, MASK_FOLDERS, ARRAYS)
    if images and masks:
        return [Layout(images, masks, _split(src.name))]
    paired = [
        Layout(folder, folders[base + ending], _split(base))
        for name, folder in folders.items()
        if (base := name.removesuffix("_images"))
        for ending in PAIRED_FOLDERS
        if base + ending in folders
        and _has_pictures(folder)
        and _has_pictures(folders[base + ending], MASK_SUFFIXES)
    ]
    if paired:
        return paired
    if _side_by_side(src):
        return [Layout(src, src, _split(src.name))]
    return [layout for folder in folders.values() for layout in find_layouts(folder, depth - 1)] if depth else []


def guess_layouts(src: Path, depth: int = DEPTH) -> list[Layout]:
    """Layouts by words in the names of folders, or x.jpg with x.png beside it; if ``find_layouts`` finds none."""
    if not src.is_dir():
        return []
    folders = [child for child in sorted(src.iterdir()) if child.is_dir() and child.name[0] != "."]
    for suffixes in (SUFFIXES, MASK_SUFFIXES):
        by_words = _by_words([folder for folder in folders if _has_pictures(folder, suffixes)])
        if by_words:
            return by_words
    below = [layout for folder in folders for layout in guess_layouts(folder, depth - 1)] if depth else []
    return below or _by_suffix(src)


def _by_words(folders: Iterable[Path]) -> list[Layout]:
    """The one folder of pictures and the one of masks of each split, or of all."""
    pictures: dict[str | None, list[Path]] = {}
    masks: dict[str | None, list[Path]] = {}
    for folder in folders:
        words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", folder.name)]
        split = next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
        if MASK_WORDS.intersection(words):
            masks.setdefault(split, []).append(folder)
        elif IMAGE_WORDS.intersection(words):
            pictures.setdefault(split, []).append(folder)
    pairs = [(split, found, masks.get(split, [])) for split, found in pictures.items()]
    everything = [(None, list(chain(*pictures.values())), list(chain(*masks.values())))]
    for chosen in (pairs, everything):
        layouts = [
            Layout(images[0], labels[0], split, f"used {images[0].name} as pictures and {labels[0].name} as masks")
            for split, images, labels in chosen
            if len(images) == len(labels) == 1
        ]
        if layouts:
            return layouts
    return []


def _by_suffix(folder: Path) -> list[Layout]:
    """The folder, if every picture that is not a JPEG has the name of one, or every array that of a picture."""
    for name, pictures, masks in (("JPEG files", JPEG, SUFFIXES - JPEG), ("picture files", SUFFIXES, ARRAYS)):
        others = _stems(folder, masks)
        if others and others <= _stems(folder, pictures):
            guess = f"used {name} as pictures, and the files of the same names next to them as masks"
            return [Layout(folder, folder, _split(folder.name), guess, masks)]
    return []


def _stems(folder: Path, suffixes: Collection[str]) -> set[str]:
    return {path.stem for path in folder.iterdir() if path.suffix.lower() in suffixes}


def _split(name: str) -> str | None:
    return SPLIT_WORDS.get(name.lower())


def _first(folders: dict[str, Path], names: tuple[str, ...], suffixes: Collection[str] = SUFFIXES) -> Path | None:
    by_name = {name.lower(): folder for name, folder in folders.items()}
    for folder in (by_name[name.lower()] for name in names if name.lower() in by_name):
        panoptic = any(path.with_suffix("").is_dir() for path in folder.glob("*.json"))  # COCO's PNG files
        if _has_pictures(folder, suffixes) and not panoptic:
            return folder
    return None


def _has_pictures(folder: Path, suffixes: Collection[str] = SUFFIXES) -> bool:
    return bool(_stems(folder, suffixes) or walk_pictures(folder, suffixes))


def _side_by_side(folder: Path) -> bool:
    """Whether a folder has pictures and their masks side by side, judged by the endings of names."""
    stems = _stems(folder, SUFFIXES)
    bases = {base for stem in _stems(folder, MASK_SUFFIXES) if (base := base_of(stem)) is not None}
    return any(stem.removesuffix(ending) in bases for stem in stems for ending in ("", *IMAGE_ENDINGS))


def base_of(stem: str) -> str | None:
    """Name of a mask without its ending; None if it has no such ending."""
    ending = max((end for end in MASK_ENDINGS if stem.endswith(end)), key=len, default=None)
    return None if ending is None else stem.removesuffix(ending)
