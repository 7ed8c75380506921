"""Folders with pictures and folders with masks: where they are, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.formats.base import SPLIT_WORDS
from refineseg.data.formats.classes import find_labels
from refineseg.data.images import SUFFIXES, read_mask
from refineseg.data.source import SPLITS, folder_of_pictures, read_list
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "JPEGImages", "pictures", "photos", "rgb")
MASK_FOLDERS = (
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "SegmentationClass",
    "SegmentationClassPNG",
    "gt",
)
MASK_ENDINGS = ("_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_L", "_seg", "_labelIds")
LISTS = ("", "ImageSets/Segmentation", "splits", "lists")
SAMPLES = 20  # masks looked at to say which values there are


@dataclass(frozen=True)
class Pair:
    """A picture's file, its mask's file, and the split if the source has some."""

    image: Path
    mask: Path
    split: str | None


def folders_of(src: Path) -> tuple[Path, Path] | None:
    """The folders with pictures and with masks in ``src``, or None."""
    if not src.is_dir():
        return None
    images = next((src / name for name in IMAGE_FOLDERS if _has_pictures(src / name)), None)
    masks = next((src / name for name in MASK_FOLDERS if _has_pictures(src / name)), None)
    return None if images is None or masks is None else (images, masks)


def pairs_of(src: Path) -> list[Pair]:
    """All pairs of ``src``, in the order of their names.

    Raises InputError where there are no such folders, or a picture has no mask. Masks may be fewer than pictures
    only where a list (train.txt, ImageSets/Segmentation/train.txt) says which are used.
    """
    folders = folders_of(src)
    if folders is None:
        raise InputError(
            f"expected a folder with pictures ({', '.join(IMAGE_FOLDERS[:5])} ...) and one with masks "
            f"({', '.join(MASK_FOLDERS[:4])} ...) in {src}, found none"
        )
    nested = [
        child for child in sorted(folders[0].iterdir()) if child.name.lower() in SPLIT_WORDS and child.is_dir()
    ]
    if nested:
        return [
            Pair(image, mask, SPLIT_WORDS[child.name.lower()])
            for child in nested
            for image, mask in _matched(folder_of_pictures(child), folders[1] / child.name)
        ]
    images = folder_of_pictures(folders[0])
    splits = _listed(src)
    if splits:
        known = {path.stem for path in images}
        for stem, (file, _) in splits.items():
            if stem not in known:
                raise InputError(f"{file} lists {stem}, but {folders[0]} has no such picture")
        images = [path for path in images if path.stem in splits]
    return [
        Pair(image, mask, splits.get(image.stem, (None, None))[1]) for image, mask in _matched(images, folders[1])
    ]


def values_in(pairs: list[Pair]) -> str:
    """The values of the first masks, with a proposal for a labels file, for an error."""
    found: set[Any] = set()
    for pair in pairs[:SAMPLES]:
        mask = read_mask(pair.mask)
        found |= set(map(tuple, _unique(mask))) if mask.ndim == 3 else set(np.unique(mask).tolist())
    shown = ", ".join(str(value) for value in sorted(found)[:12]) + (" ..." if len(found) > 12 else "")
    return f"the first masks hold {shown}"


def labels_for(pairs: list[Pair], src: Path, given: LabelMap | None, example: str) -> LabelMap:
    """The labels given, or those beside the masks; InputError with the values found and an example otherwise."""
    labels = given or find_labels(src) or next((found for pair in pairs[:1] if (found := _beside(pair))), None)
    if labels is None:
        raise InputError(
            f"expected class names for the masks in {src} ({values_in(pairs)}); write a labels.yaml there, "
            f"or give one with --labels: {example}"
        )
    return labels


@lru_cache(maxsize=4)  # its table of colours is made once
def by_color(labels: LabelMap) -> LabelMap:
    """A label map whose raw values are the colours of its classes, unless they are colours already."""
    if labels.rgb:
        return labels
    values = labels.to_dict()
    for entry in values["classes"]:
        entry["raw"] = [entry["color"]]
    return LabelMap.from_dict(values | {"ignore": []})


def palette_colors(path: Path) -> UInt8:
    """A palette mask as HxWx3 colours; InputError if it has no palette."""
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise InputError(f"cannot read {path} as a mask: is it damaged?") from error
    raise InputError(
        f"{path}: expected colours, as in the labels file, got numbers; give the numbers as 'raw' there"
    )


def _beside(pair: Pair) -> LabelMap | None:
    return find_labels(pair.mask.parent)


def _unique(mask: NDArray[Any]) -> list[list[int]]:
    rows: list[list[int]] = np.unique(mask.reshape(-1, 3), axis=0).tolist()
    return rows


def _has_pictures(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    places = [
        folder,
        *(child for child in folder.iterdir() if child.name.lower() in SPLIT_WORDS and child.is_dir()),
    ]
    return any(path.suffix.lower() in SUFFIXES for place in places for path in place.iterdir())


def _matched(images: list[Path], masks: Path) -> list[tuple[Path, Path]]:
    by_stem = {path.stem: path for path in folder_of_pictures(masks)}
    found = []
    for image in images:
        mask = next((by_stem[name] for end in ("", *MASK_ENDINGS) if (name := image.stem + end) in by_stem), None)
        if mask is None:
            raise InputError(
                f"expected a mask for {image} in {masks} ({image.stem}.png, or with one of "
                f"{', '.join(MASK_ENDINGS[:4])} ... at the end), found none"
            )
        found.append((image, mask))
    return found


def _listed(src: Path) -> dict[str, tuple[Path, str]]:
    """List file and split by picture stem; empty if there is no list."""
    found: dict[str, tuple[Path, str]] = {}
    for split in SPLITS:
        file = next(
            (src / place / f"{split}.txt" for place in LISTS if (src / place / f"{split}.txt").is_file()), None
        )
        for line in read_list(file) if file else []:
            name = Path(line.split(",")[0].split("\t")[0].strip()).name
            stem = Path(name).stem if Path(name).suffix.lower() in SUFFIXES else name
            found[stem] = (file or src, split)
    return found
