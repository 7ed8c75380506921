"""Roboflow's semantic masks: per split a folder with NAME.jpg, NAME_mask.png and _classes.csv.

Every split numbers its classes itself; they are merged by name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from refineseg.data.formats.format import AnnotatedData, Format, Item, ReadOptions, not_empty
from refineseg.data.formats.parsing.class_names import by_train_id, edit_labels
from refineseg.data.formats.parsing.find_pictures import SPLIT_WORDS
from refineseg.data.formats.parsing.label_files import read_labels
from refineseg.data.formats.parsing.layouts import Layout
from refineseg.data.formats.parsing.mask_labels import paint
from refineseg.data.formats.parsing.pairing import Pairs, match
from refineseg.errors import InputError
from refineseg.labels import LabelMap

CLASSES = "_classes.csv"


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The pairs of all splits, with one list of classes."""
    folders = not_empty(_folders(src), f"{CLASSES}, perhaps in folders train, valid, test,", src)
    own = {folder: read_labels(folder / CLASSES) for folder in folders}
    labels = {folder: options.labels or _with_all(own[folder], list(own.values())) for folder in folders}
    edited = {folder: edit_labels(classes, options.edits) for folder, classes in labels.items()}
    items: list[Item] = []
    found = Pairs()
    for folder in folders:
        match(Layout(folder, folder, SPLIT_WORDS.get(folder.name.lower())), src, found, options.faults)
        items += [
            Item(pair.name, pair.image, partial(paint, pair.mask, edited[folder]), pair.split)
            for pair in found.pairs[len(items) :]
        ]
    if not items and not len(options.faults):
        raise InputError(f"expected pictures with NAME_mask.png beside them in {src}, found none")
    label_map = by_train_id(edited[folders[0]])
    return AnnotatedData(label_map, items, tuple(found.notes), unannotated=found.unannotated)


def _folders(src: Path) -> list[Path]:
    """A folder with _classes.csv, or its folders (one per split) that have one."""
    if not src.is_dir():
        return []
    return [file.parent for file in sorted([*src.glob(CLASSES), *src.glob(f"*/{CLASSES}")])]


def _with_all(own: LabelMap, everyone: list[LabelMap]) -> LabelMap:
    """The classes of all splits, with the numbers of one split; others have no number."""
    merged = {item.name: item for labels in everyone for item in labels.classes}
    mine = {item.name: item.raw for item in own.classes}
    classes = tuple(replace(item, raw=mine.get(name, ())) for name, item in merged.items())
    return LabelMap(classes, own.ignore)


FORMAT = Format(
    name="roboflow",
    title="Roboflow semantic masks",
    needs="a folder for each split with _classes.csv, NAME.jpg and NAME_mask.png",
    fits=_folders,
    read=read,
    marks=("file _classes.csv",),
)
