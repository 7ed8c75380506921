"""The files of a data set as they lie there, faults and all.

``open_data`` stops at the first fault, as it should before training; a check wants all of them. So a set that
opens is taken as it opens, and one of the user's own that does not is paired here, leniently, by the same
description and the same splitting rules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refineseg.data.folder import Description, held_out, read_description, split_lists
from refineseg.data.images import SUFFIXES, read_image, read_mask
from refineseg.data.registry import open_data
from refineseg.data.source import SPLITS, SegmentationData, folder_of_pictures, read_list
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

FLAT = frozenset({"camvid"})  # benchmarks whose folders hold their pairs and nothing else
AFFIXES = (
    "mask",
    "masks",
    "label",
    "labels",
    "gt",
    "seg",
    "segmentation",
    "annotation",
    "groundtruth",
    "L",
    "image",
)


@dataclass(frozen=True)
class Pair:
    """A picture and the mask that training would take for it. ``mask`` is None where there is none."""

    split: str
    stem: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class Listing:
    """What lies on disk, and what does not fit together.

    Attributes:
        data: as the user wrote it.
        label_map: from raw mask values to train ids.
        pairs: pictures with their masks, in the order of the splits.
        own: whether the user's own files rather than a benchmark's, so that splits and files can be changed.
        no_mask: pictures without a mask.
        no_image: masks without a picture.
        same_stem: groups of files in one folder that differ only in their suffix.
        case: groups of files whose names differ only in letter case.
        missing: (list file, entry) that no picture belongs to.
        repeated: pictures that are in their split more than once.
        unlisted: pictures that no split list names.
        strays: files among pictures or masks of a kind that is not read.
        renamed: for pictures without a mask, how their masks seem to be called instead ("STEM_mask"), or "".
        refusal: what ``open_data`` said, or None if the set opens.
        read_picture, read_raw: the data set's own readers.
    """

    data: str
    label_map: LabelMap
    pairs: tuple[Pair, ...]
    own: bool
    no_mask: tuple[Path, ...] = ()
    no_image: tuple[Path, ...] = ()
    same_stem: tuple[tuple[Path, ...], ...] = ()
    case: tuple[tuple[Path, ...], ...] = ()
    missing: tuple[tuple[Path, str], ...] = ()
    repeated: tuple[Path, ...] = ()
    unlisted: tuple[Path, ...] = ()
    strays: tuple[Path, ...] = ()
    renamed: str = ""
    refusal: str | None = None
    read_picture: Callable[[Path], UInt8] = field(default=read_image, repr=False)
    read_raw: Callable[[Path], NDArray[Any]] = field(default=read_mask, repr=False)

    def by_split(self) -> dict[str, list[Pair]]:
        """The pairs of each split."""
        grouped: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            grouped.setdefault(pair.split, []).append(pair)
        return grouped


def list_data(spec: str | Path) -> Listing:
    """Look at the folders of a data set.

    Args:
        spec: ``NAME:ROOT`` or a YAML file, as for ``open_data``.

    Raises:
        InputError: nothing can be listed: no folder, no readable description, no pictures.
    """
    text = str(spec)
    description = _description(text)
    try:
        data = open_data(spec)
    except InputError as error:
        if description is None:
            raise
        return _lenient(text, description, str(error))
    if description is not None:
        folders = _folders(description)
    elif data.name in FLAT:
        folders = sorted(
            {(s.image.parent, s.mask.parent) for items in data.splits.values() for s in items if s.mask}
        )
    else:
        folders = []
    return _as_opened(text, data, folders, own=description is not None)


def _description(text: str) -> Description | None:
    """Of the user's own data; None for a benchmark."""
    name, _, root = text.partition(":")
    file = Path(text).expanduser()
    if name == "folder":
        file = Path(root).expanduser() / "labels.yaml"
    elif not text.lower().endswith((".yaml", ".yml")):
        return None
    return read_description(file) if file.is_file() else None


def _folders(description: Description) -> list[tuple[Path, Path]]:
    nested = [split for split in SPLITS if (description.images / split).is_dir()]
    if nested:
        return [(description.images / split, description.masks / split) for split in nested]
    return [(description.images, description.masks)]


def _as_opened(text: str, data: SegmentationData, folders: list[tuple[Path, Path]], *, own: bool) -> Listing:
    """A set that opens: its own samples, and what else lies in its folders."""
    pairs, no_mask, missing, repeated = [], [], [], []
    for split, samples in data.splits.items():
        seen: set[Path] = set()
        for sample in samples:
            if sample.image in seen:
                repeated.append(sample.image)
                continue
            seen.add(sample.image)
            if not sample.image.is_file():
                missing.append((data.root / f"{split}.txt", sample.image.name))
                continue
            mask = sample.mask if sample.mask is not None and sample.mask.is_file() else None
            if mask is None:
                no_mask.append(sample.image)
            pairs.append(Pair(split, sample.stem, sample.image, mask))
    if not pairs:
        raise InputError(f"expected pictures in {data.root}, found none of those that its lists name")
    return Listing(
        data=text,
        label_map=data.label_map,
        pairs=tuple(pairs),
        own=own,
        no_mask=tuple(no_mask),
        missing=tuple(missing),
        repeated=tuple(repeated),
        read_picture=data.read_picture,
        read_raw=data.read_raw,
        **_beside(folders, {pair.image for pair in pairs}),
    )


def _lenient(text: str, description: Description, refusal: str) -> Listing:
    """One's own data that ``open_data`` refuses: everything that can be paired, and what cannot."""
    folders = _folders(description)
    nested = folders[0][0] != description.images
    found: dict[str, list[Pair]] = {}
    for images, masks in folders:
        split = images.name if nested else ""
        labels = _by_stem(masks)  # of several masks of one stem training takes the last by name
        found[split] = [
            Pair(split, image.stem, image, labels.get(image.stem, [None])[-1]) for image in _pictures(images)
        ]
    missing: list[tuple[Path, str]] = []
    repeated: list[Path] = []
    if not nested:
        found, missing, repeated = _split(description, found[""])
    pairs = tuple(pair for items in found.values() for pair in items)
    if not pairs:
        raise InputError(refusal)
    return Listing(
        data=text,
        label_map=description.label_map,
        pairs=pairs,
        own=True,
        no_mask=tuple(pair.image for pair in pairs if pair.mask is None),
        missing=tuple(missing),
        repeated=tuple(repeated),
        refusal=refusal,
        **_beside(folders, {pair.image for pair in pairs}),
    )


def _split(
    description: Description, pairs: list[Pair]
) -> tuple[dict[str, list[Pair]], list[tuple[Path, str]], list[Path]]:
    """Pairs of one folder by split, what the lists name in vain, and what they name twice."""
    lists = split_lists(description.root, description.lists)
    if not lists:
        chosen = held_out([pair.stem for pair in pairs])
        named = [(("val" if pair.stem in chosen else "train"), pair) for pair in pairs]
        return _grouped(named), [], []
    known = {pair.stem: pair for pair in pairs}
    named, missing, repeated = [], [], []
    for split, file in lists.items():
        seen: set[str] = set()
        for line in read_list(file):
            name = Path(line.split()[0]).name
            pair = known.get(name) or known.get(Path(name).stem)
            if pair is None:
                missing.append((file, name))
            elif pair.stem in seen:
                repeated.append(pair.image)
            else:
                seen.add(pair.stem)
                named.append((split, pair))
    return _grouped(named), missing, repeated


def _grouped(named: Iterable[tuple[str, Pair]]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for split, pair in named:
        found.setdefault(split, []).append(Pair(split, pair.stem, pair.image, pair.mask))
    return found


def _beside(folders: list[tuple[Path, Path]], used: set[Path]) -> Mapping[str, Any]:
    """What else lies in the folders: files without a partner, clashing names, strays."""
    no_image, unlisted, same_stem, case, strays, lonely, extra = [], [], [], [], [], [], []
    for images, masks in folders:
        pictures, labels = _by_stem(images), _by_stem(masks)
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


def _pictures(folder: Path) -> list[Path]:
    return folder_of_pictures(folder) if folder.is_dir() else []


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in _pictures(folder):
        found.setdefault(path.stem, []).append(path)
    return found


def _strays(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if path.suffix.lower() not in SUFFIXES)
