"""Import of an annotation format as images/, masks/ and labels.yaml, as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from refineseg.config.yaml import to_yaml
from refineseg.data.dataset import SPLITS
from refineseg.data.formats.format import AnnotatedData, Faults, FaultsError, Format, Item, ReadOptions
from refineseg.data.formats.known_formats import find_format, formats
from refineseg.data.formats.parsing.areas import class_counts
from refineseg.data.formats.parsing.class_names import background_id
from refineseg.data.formats.parsing.find_pictures import named
from refineseg.data.formats.transfer.import_options import (
    ImportOptions,
    ImportReport,
    SplitOptions,
    split_pictures,
)
from refineseg.data.formats.transfer.pair_files import PairWriter, unique_names
from refineseg.data.pictures.open_picture import needs_statistics
from refineseg.data.pictures.statistics import statistics
from refineseg.data.pictures.tiff_samples import is_scientific
from refineseg.errors import InputError
from refineseg.labels import IGNORE
from refineseg.system.files import atomic_folder, check_new, expanded
from refineseg.system.lock import locked
from refineseg.system.progress import Progress, tracked
from refineseg.system.text import counted

LEFT_OUT = "left_out.txt"


@dataclass(frozen=True)
class _Written:
    """A written pair: item, file stem, train ids present, whether pixels are ignored, and split."""

    item: Item
    stem: str
    present: list[int]
    ignored: bool
    split: str | None


def import_data(
    src: str | Path,
    root: str | Path,
    format: str | None = None,
    *,
    options: ReadOptions | None = None,
    how: ImportOptions | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Convert a data set in another format to one for ``folder:ROOT``.

    Writes ROOT/images (copies), ROOT/masks (palette PNG of train ids), ROOT/labels.yaml, train.txt, val.txt and
    test.txt if there are splits, and left_out.txt if something was left out. ROOT appears only when complete.

    Args:
        src: file or folder.
        root: new or empty folder, not inside ``src``.
        format: name of a format; detected if None.
        options: how the source is read.
        how: what is written.
        progress: called with pictures done and total.

    Raises:
        FaultsError: faults in the source, with file and position, unless ``skip_bad``.
        InputError: the source cannot be read, or ROOT cannot be used.
    """
    src, root = expanded(src), expanded(root)
    options, how, faults = options or ReadOptions(), how or ImportOptions(), Faults()
    with locked(root, beside=True):
        check_new(root)
        if src.is_dir() and root.resolve().is_relative_to(src.resolve()):
            raise InputError(
                f"expected an output folder outside the source {src}, got {root}; the source is only read"
            )
        chosen = find_format(format, src)
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
            if chosen.threshold:
                _check_binary(source, written, src)
            written, split_notes = _with_splits(written, how.split)
            members = _write_splits(written, staging)
            (staging / "labels.yaml").write_text(_description(source, written), encoding="utf-8")
            lines = [f"no annotation: {path}\n" for path in skipped]
            lines += [f"fault: {text}\n" for text in faults.found]
            if lines:
                (staging / LEFT_OUT).write_text("".join(lines), encoding="utf-8")
    absent, warnings = _absent_classes(source, written)
    notes = [*source.notes, *writer.notes(), *split_notes, *absent]
    if faults.without_pixels:
        areas = counted(faults.without_pixels.total(), "area")
        notes.append(
            f"left out {areas} without a pixel: empty, too small or outside the picture"
            f"{class_counts(faults.without_pixels)}"
        )
    if skipped:
        notes.append(f"left out {counted(skipped, 'picture')} without annotation: {named(skipped)}")
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


def _absent_classes(source: AnnotatedData, written: Sequence[_Written]) -> tuple[list[str], list[str]]:
    """A note on classes without a pixel; a warning if there is one class and ignored pixels only."""
    shown = {value for pair in written for value in pair.present}
    names = source.label_map.names
    absent = ", ".join(name for index, name in enumerate(names) if index not in shown)
    if not absent:
        return [], []
    if len(shown) == 1 and any(pair.ignored for pair in written):
        (only,) = shown
        return [], [f"all masks show {names[only]} and ignored pixels only: {absent} cannot be learned"]
    return [f"classes without a pixel in any mask: {absent}"], []


def _check_binary(source: AnnotatedData, written: Sequence[_Written], src: Path) -> None:
    """InputError for masks of two classes that show one of them and ignored pixels only."""
    names = source.label_map.names
    shown = {value for pair in written for value in pair.present}
    if len(names) == 2 and len(shown) == 1 and any(pair.ignored for pair in written):
        (only,) = shown
        raise InputError(
            f"all masks in {src} show {names[only]} and ignored pixels only, so that {names[1 - only]} cannot be "
            "learned; if they are black and white, give --threshold 128, or 'raw: 255' for the class of 255 in "
            "the labels file"
        )


def _read(chosen: Format, src: Path, options: ReadOptions) -> AnnotatedData:
    """Open the source; an error is reported together with the faults found before it."""
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


def _with_unannotated(source: AnnotatedData, how: ImportOptions) -> AnnotatedData:
    """The source with unannotated pictures as background, if chosen."""
    if how.unannotated == "skip" or not source.unannotated:
        return source
    background = background_id(source.label_map)
    if background is None:
        raise InputError("expected a class called background for pictures without annotation, found none")
    more = [
        Item(picture.name, picture.image, lambda shape: np.full(shape, background, np.uint8), picture.split)
        for picture in source.unannotated
    ]
    note = f"{counted(more, 'picture')} without annotation: all pixels are background"
    return replace(source, items=[*source.items, *more], notes=(*source.notes, note), unannotated=())


def _write_pairs(
    source: AnnotatedData,
    writer: PairWriter,
    faults: Faults,
    how: ImportOptions,
    progress: Progress | None,
) -> list[_Written]:
    """Write every pair without fault; after a fault that ends the import the others are only checked."""
    names = unique_names([item.name for item in source.items])
    written = []
    for item, name in tracked(zip(source.items, names, strict=True), len(names), progress):
        with faults.collect():
            shape, labels = writer.checked(item)
            if not len(faults) or how.skip_bad:
                writer.write(item, name, shape, labels)
                values = np.unique(labels).tolist()
                present = [value for value in values if value != IGNORE]
                written.append(_Written(item, name, present, IGNORE in values, item.split))
    return written


def _with_splits(written: list[_Written], options: SplitOptions | None) -> tuple[list[_Written], list[str]]:
    """The pairs with the splits assigned, or with those of the source; and a note on them."""
    own = [pair.split for pair in written]
    if options is None:
        return written, ["pictures without a split went to train"] if any(own) and None in own else []
    chosen = split_pictures([pair.item.name for pair in written], [pair.present for pair in written], options)
    assigned = [replace(pair, split=split) for pair, split in zip(written, chosen, strict=True)]
    return assigned, ["the splits of the source were replaced"] if any(own) else []


def _write_splits(written: Sequence[_Written], folder: Path) -> dict[str, int]:
    if not any(pair.split for pair in written):
        return {}
    members: dict[str, list[str]] = {}
    for pair in written:
        members.setdefault(pair.split or "train", []).append(pair.stem)
    for split, stems in members.items():
        (folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    return {split: len(members[split]) for split in SPLITS if split in members}


def _description(source: AnnotatedData, written: Sequence[_Written]) -> str:
    values = source.label_map.to_dict()
    pictures = [(pair.item.image, pair.split) for pair in written if isinstance(pair.item.image, Path)]
    if pictures and (is_scientific(pictures[0][0]) or needs_statistics(pictures[0][0])):
        used = [image for image, split in pictures if split in (None, "train")]
        values["statistics"] = statistics(used or [image for image, _ in pictures])
    return to_yaml(values)
