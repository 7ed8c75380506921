"""From a foreign format to images/, masks/ and labels.yaml, as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

from refineseg.config.yaml import to_yaml
from refineseg.data.formats.base import SUFFIX_OF, Item, Picture, ReadOptions, Source, check_size, picture_shape
from refineseg.data.formats.registry import format_of
from refineseg.data.formats.staging import check_new, staged
from refineseg.data.images import SUFFIXES, write_mask
from refineseg.data.pictures.opening import needs_statistics
from refineseg.data.pictures.statistics import statistics
from refineseg.data.source import SPLITS
from refineseg.data.tiff import is_scientific
from refineseg.errors import InputError

LONGEST = 200  # characters of a file's name, below every file system's limit


@dataclass(frozen=True)
class ImportReport:
    """What an import wrote.

    Attributes:
        root: the new data set's folder.
        format: name of the format that was read.
        pictures: number of pairs.
        splits: pictures by split; empty where the source has none.
        class_names: by train id.
        notes: what was left out or decided.
    """

    root: Path
    format: str
    pictures: int
    splits: Mapping[str, int]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def import_data(
    src: str | Path,
    root: str | Path,
    format: str | None = None,
    *,
    options: ReadOptions | None = None,
    link: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Read a data set in a foreign format and write one that ``folder:ROOT`` opens.

    Writes ROOT/images (byte for byte), ROOT/masks (palette index PNG of train ids), ROOT/labels.yaml and, where
    the source has splits, train.txt, val.txt, test.txt. The source is only read. ROOT appears when all is done.

    Args:
        src: file or folder.
        root: new or empty folder, not inside ``src``.
        format: a name of FORMATS; recognised if None.
        options: labels, folder of the pictures, meaning of unlabelled pixels.
        link: hard links to the pictures instead of copies, where the disk allows it.
        progress: called with pictures done and in all.

    Raises:
        InputError: a bad source (file and place are named) or an unusable ROOT.
    """
    src, root = Path(src).expanduser(), Path(root).expanduser()
    _check_places(src, root)
    chosen = format_of(format, src)
    source = chosen.read(src, options or ReadOptions())
    if not source.items:
        raise InputError(f"expected pictures with annotations in {src}, found none")
    names = unique_names([item.name for item in source.items])
    with staged(root) as staging:
        (staging / "images").mkdir()
        (staging / "masks").mkdir()
        for done, (item, name) in enumerate(zip(source.items, names, strict=True), 1):
            _write_pair(item, name, source, staging, link)
            if progress is not None:
                progress(done, len(names))
        splits = _write_splits(source.items, names, staging)
        (staging / "labels.yaml").write_text(_description(source), encoding="utf-8")
    notes = source.notes
    if splits and any(item.split is None for item in source.items):
        notes = (*notes, "pictures of no split went to train")
    classes = tuple(source.label_map.names)
    return ImportReport(root, chosen.name, len(names), splits, classes, notes)


def unique_names(names: Sequence[str]) -> list[str]:
    """File stems: the last part of each name where that is unique, else with its folders, else with a number.

    Blanks and characters that some systems refuse become ``_``; names that differ in case only count as equal.
    """
    short = [_plain(PurePosixPath(name).name) for name in names]
    often = Counter(name.lower() for name in short)
    taken: set[str] = set()
    chosen = []
    for name, stem in zip(names, short, strict=True):
        wanted = stem if often[stem.lower()] == 1 else _plain(name)
        unique, number = wanted, 2
        while unique.lower() in taken:
            unique, number = f"{wanted}_{number}", number + 1
        taken.add(unique.lower())
        chosen.append(unique)
    return chosen


def _plain(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    text = "".join(letter if letter.isalnum() or letter in "-_.+()" else "_" for letter in "_".join(parts))
    return text.lstrip(".")[-LONGEST // 4 :] if len(text.encode()) > LONGEST else text.lstrip(".") or "picture"


def _check_places(src: Path, root: Path) -> None:
    check_new(root)
    if src.is_dir() and root.resolve().is_relative_to(src.resolve()):
        raise InputError(
            f"expected an output folder outside the source {src}, got {root}; the source is only read"
        )


def _write_pair(item: Item, name: str, source: Source, folder: Path, link: bool) -> None:
    shape = picture_shape(item.image)
    labels = item.labels(shape)
    where = str(item.image) if isinstance(item.image, Path) else f"picture {item.name}"
    check_size((labels.shape[0], labels.shape[1]), shape, f"mask of {where}")
    write_mask(folder / "masks" / f"{name}.png", labels, source.label_map)
    target = folder / "images" / (name + _suffix(item.image))
    if isinstance(item.image, Path):
        _copy(item.image, target, link)
    else:
        target.write_bytes(item.image())


def _copy(image: Path, target: Path, link: bool) -> None:
    if link:
        try:
            os.link(image.resolve(), target)
            return
        except OSError:  # another disk, or a file system without links
            pass
    shutil.copyfile(image, target)


def _suffix(image: Picture) -> str:
    if isinstance(image, Path):
        suffix = image.suffix.lower()
    else:
        with Image.open(BytesIO(image())) as opened:
            suffix = SUFFIX_OF.get(opened.format or "", "")
    if suffix not in SUFFIXES:
        raise InputError(f"expected a picture of type {', '.join(sorted(SUFFIXES))}, got {image}")
    return suffix


def _write_splits(items: Sequence[Item], names: Sequence[str], folder: Path) -> dict[str, int]:
    if all(item.split is None for item in items):
        return {}
    members: dict[str, list[str]] = {}
    for item, name in zip(items, names, strict=True):
        members.setdefault(item.split or "train", []).append(name)
    for split, stems in members.items():
        (folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return {split: len(members[split]) for split in SPLITS if split in members}


def _description(source: Source) -> str:
    values = source.label_map.to_dict()
    pictures = [(item.image, item.split) for item in source.items if isinstance(item.image, Path)]
    if pictures and (is_scientific(pictures[0][0]) or needs_statistics(pictures[0][0])):
        used = [image for image, split in pictures if split in (None, "train")]
        values["statistics"] = statistics(used or [image for image, _ in pictures])
    return to_yaml(values)
