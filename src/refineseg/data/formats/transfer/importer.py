"""From an annotation format to images/, masks/ and labels.yaml, as a whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from refineseg.config.yaml import to_yaml
from refineseg.data.formats.base import Format, Item, ReadOptions, Shape, Source
from refineseg.data.formats.faults import Faults, FaultsError
from refineseg.data.formats.parsing.areas import counted
from refineseg.data.formats.parsing.classes import background_id
from refineseg.data.formats.parsing.pictures import named
from refineseg.data.formats.registry import format_of, formats
from refineseg.data.formats.transfer.pair_files import PairWriter
from refineseg.data.formats.transfer.split import SplitOptions, split_pictures
from refineseg.data.pictures.opening import needs_statistics
from refineseg.data.pictures.statistics import statistics
from refineseg.data.source import SPLITS
from refineseg.data.tiff import is_scientific
from refineseg.errors import InputError
from refineseg.labels import IGNORE, UInt8
from refineseg.system.files import atomic_folder, check_new
from refineseg.system.lock import locked

LONGEST = 200  # characters of a file's name, below every file system's limit
LEFT_OUT = "left_out.txt"


@dataclass(frozen=True)
class ImportOptions:
    """What is written.

    Attributes:
        link: hard links to the pictures instead of copies, where the disk allows it.
        skip_bad: import what has no fault, and list the rest in left_out.txt.
        unannotated: pictures without annotation: ``skip``, or ``background`` for pictures of background only.
        split: shares of train, val and test to assign; the source's own splits if None.
        max_side: pictures whose longer side has more pixels are scaled down with their masks.
    """

    link: bool = False
    skip_bad: bool = False
    unannotated: str = "skip"
    split: SplitOptions | None = None
    max_side: int | None = None

    def __post_init__(self) -> None:
        if self.unannotated not in ("skip", "background"):
            raise InputError(
                f"expected pictures without annotation to be skip or background, got {self.unannotated!r}"
            )
        if self.max_side is not None and self.max_side < 1:
            raise InputError(f"expected a longest side of at least 1 pixel, got {self.max_side}")


@dataclass(frozen=True)
class ImportReport:
    """What an import wrote.

    Attributes:
        root: the new data set's folder.
        format: name of the format that was read.
        pictures: number of pairs.
        splits: pictures by split; empty where there are none.
        class_names: class names by train id.
        notes: what was left out or assumed.
        warnings: notes that probably need an action.
        faults: what was left out because it is wrong, with ``skip_bad``.
    """

    root: Path
    format: str
    pictures: int
    splits: Mapping[str, int]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Written:
    """A pair that was written: item, file stem, train ids that it shows, and whether pixels are ignored."""

    item: Item
    stem: str
    present: list[int]
    ignored: bool


def import_data(
    src: str | Path,
    root: str | Path,
    format: str | None = None,
    *,
    options: ReadOptions | None = None,
    how: ImportOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Read a data set in another format and write one that ``folder:ROOT`` opens.

    Writes ROOT/images (byte for byte), ROOT/masks (palette index PNG of train ids), ROOT/labels.yaml, where there
    are splits train.txt, val.txt and test.txt, and left_out.txt where something was left out. The source is only
    read. ROOT appears when all is done.

    Args:
        src: file or folder.
        root: new or empty folder, not inside ``src``.
        format: name of a format; recognised if None.
        options: how the source is read.
        how: what is written.
        progress: called with pictures done and in all.

    Raises:
        FaultsError: faults in the source, all of them with file and place, unless ``skip_bad``.
        InputError: a source that cannot be read at all, or an unusable ROOT.
    """
    src, root = Path(src).expanduser(), Path(root).expanduser()
    options, how, faults = options or ReadOptions(), how or ImportOptions(), Faults()
    with locked(root, beside=True):
        _check_places(src, root)
        chosen = format_of(format, src)
        if options.threshold is not None and not chosen.threshold:
            able = ", ".join(name for name, item in formats().items() if item.threshold)
            raise InputError(f"expected masks ({able}) with a threshold, got {chosen.name}")
        source = _with_unannotated(_read(chosen, src, replace(options, faults=faults)), how)
        skipped = [picture.image for picture in source.unannotated]
        with atomic_folder(root) as staging:
            writer = PairWriter(staging, source.label_map, how.link, how.max_side)
            written = _write_pairs(source, writer, faults, how, progress)
            if len(faults) and (not how.skip_bad or not written):
                raise FaultsError(str(src), faults.found)
            splits = _splits(written, how.split)
            members = _write_splits(written, splits, staging)
            (staging / "labels.yaml").write_text(_description(source, written, splits), encoding="utf-8")
            lines = [f"no annotation: {path}\n" for path in skipped] + [
                f"fault: {text}\n" for text in faults.found
            ]
            if lines:
                (staging / LEFT_OUT).write_text("".join(lines), encoding="utf-8")
    absent, warnings = _absent_classes(source, written)
    notes = [*source.notes, *writer.notes(), *_split_notes(written, splits, how), *absent]
    if faults.without_pixels:
        notes.append(
            f"{faults.without_pixels.total()} areas cover no pixel: empty, too small or outside the picture"
            f"{counted(faults.without_pixels)}"
        )
    if skipped:
        notes.append(f"{len(skipped)} pictures have no annotation and were left out: {named(skipped)}")
    return ImportReport(
        root,
        chosen.name,
        len(written),
        members,
        tuple(source.label_map.names),
        tuple(notes),
        (*source.warnings, *warnings),
        tuple(faults.found),
    )


def _absent_classes(source: Source, written: Sequence[_Written]) -> tuple[list[str], list[str]]:
    """A note on classes without a pixel; a warning where one class alone is left beside ignored pixels."""
    shown = {value for pair in written for value in pair.present}
    names = source.label_map.names
    absent = ", ".join(name for index, name in enumerate(names) if index not in shown)
    if not absent:
        return [], []
    if len(shown) == 1 and any(pair.ignored for pair in written):
        (only,) = shown
        return [], [
            f"all masks show {names[only]} and ignored pixels only: {absent} cannot be learned; where they "
            "are black and white, give --threshold 128, or 'raw: 255' for the class of 255 in the labels file"
        ]
    return [f"classes without a pixel in any mask: {absent}"], []


def _read(chosen: Format, src: Path, options: ReadOptions) -> Source:
    """Open the source; an error of the whole is told with the faults that were found before it."""
    try:
        source = chosen.read(src, options)
    except FaultsError:
        raise
    except InputError as error:
        if not len(options.faults):
            raise
        options.faults.add(error)
        raise FaultsError(str(src), options.faults.found) from error
    if not source.items and not len(options.faults):
        raise InputError(f"expected pictures with annotations in {src}, found none")
    return source


def _with_unannotated(source: Source, how: ImportOptions) -> Source:
    """The source with pictures without annotation as background, where they are to be."""
    if how.unannotated == "skip" or not source.unannotated:
        return source
    background = background_id(source.label_map)
    if background is None:
        raise InputError("expected a class called background for pictures without annotation, found none")
    more = [
        Item(picture.name, picture.image, partial(_blank, background), picture.split)
        for picture in source.unannotated
    ]
    note = f"{len(more)} pictures have no annotation: all of them is background"
    return replace(source, items=[*source.items, *more], notes=(*source.notes, note), unannotated=())


def _blank(train_id: int, shape: Shape) -> UInt8:
    return np.full(shape, train_id, np.uint8)


def _write_pairs(
    source: Source,
    writer: PairWriter,
    faults: Faults,
    how: ImportOptions,
    progress: Callable[[int, int], None] | None,
) -> list[_Written]:
    """Write every pair without fault; after a fault that ends the import the others are only looked over."""
    names = unique_names([item.name for item in source.items])
    written = []
    for done, (item, name) in enumerate(zip(source.items, names, strict=True), 1):
        with faults.collect():
            shape, labels = writer.checked(item)
            if not len(faults) or how.skip_bad:
                writer.write(item, name, shape, labels)
                values = np.unique(labels).tolist()
                present = [value for value in values if value != IGNORE]
                written.append(_Written(item, name, present, IGNORE in values))
        if progress is not None:
            progress(done, len(names))
    return written


def unique_names(names: Sequence[str]) -> list[str]:
    """File stems: the last part of each name where that is unique, else with its folders, else with a number.

    Blanks and characters that some systems refuse become ``_``; names that differ in case only count as equal.
    """
    short = [_plain(PurePosixPath(name).name) for name in names]
    often = Counter(name.lower() for name in short)
    taken: set[str] = set()
    chosen = []
    for name, stem in zip(names, short, strict=True):
        base = stem if often[stem.lower()] == 1 else _plain(name)
        unique, number = base, 2
        while unique.lower() in taken:
            unique, number = f"{base}_{number}", number + 1
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


def _splits(written: Sequence[_Written], options: SplitOptions | None) -> list[str | None]:
    """The split of every pair: assigned, or as the source says."""
    if options is None:
        return [pair.item.split for pair in written]
    return [*split_pictures([pair.item.name for pair in written], [pair.present for pair in written], options)]


def _split_notes(written: Sequence[_Written], splits: Sequence[str | None], how: ImportOptions) -> list[str]:
    if how.split is not None:
        own = any(pair.item.split for pair in written)
        return ["the splits of the source were replaced"] if own else []
    return ["pictures of no split went to train"] if any(splits) and None in splits else []


def _write_splits(written: Sequence[_Written], splits: Sequence[str | None], folder: Path) -> dict[str, int]:
    if not any(splits):
        return {}
    members: dict[str, list[str]] = {}
    for pair, split in zip(written, splits, strict=True):
        members.setdefault(split or "train", []).append(pair.stem)
    for split, stems in members.items():
        (folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return {split: len(members[split]) for split in SPLITS if split in members}


def _description(source: Source, written: Sequence[_Written], splits: Sequence[str | None]) -> str:
    values = source.label_map.to_dict()
    pictures = [
        (pair.item.image, split)
        for pair, split in zip(written, splits, strict=True)
        if isinstance(pair.item.image, Path)
    ]
    if pictures and (is_scientific(pictures[0][0]) or needs_statistics(pictures[0][0])):
        used = [image for image, split in pictures if split in (None, "train")]
        values["statistics"] = statistics(used or [image for image, _ in pictures])
    return to_yaml(values)
