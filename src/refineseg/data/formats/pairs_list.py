"""A CSV or text file with a picture and its mask on every line, and perhaps the split."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

from refineseg.data.formats.base import Item, ReadOptions, Shape, Source, head, split_of
from refineseg.data.formats.classes import by_train_id
from refineseg.data.formats.pair_folders import Pair, by_color, labels_for, palette_colors
from refineseg.data.images import SUFFIXES, read_mask
from refineseg.data.source import read_list
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".lst")


def fits(src: Path) -> bool:
    """A .csv, .tsv, .txt or .lst file with two file names on its first lines."""
    if not src.is_file() or src.suffix.lower() not in LIST_SUFFIXES:
        return False
    return any(len(_files(_cells(line))) >= 2 for line in head(src).splitlines()[:2])


def read(src: Path, options: ReadOptions) -> Source:
    """The pairs of the list; paths count from the list's folder (or --images for the pictures)."""
    pairs = [pair for number, line in enumerate(read_list(src), 1) if (pair := _pair(line, number, src, options))]
    if not pairs:
        raise InputError(f"{src}: expected a picture and a mask on every line, such as a.jpg,a.png; found none")
    labels = labels_for(pairs, src.parent, options.labels, "'classes: [background, road]' and 'ignore: [255]'")
    items = [
        Item(_name(pair.image, src), pair.image, partial(paint, pair.mask, labels), pair.split) for pair in pairs
    ]
    return Source(by_train_id(labels), items)


def paint(mask: Path, labels: LabelMap, _: Shape) -> UInt8:
    """The train ids of a mask file, whether it holds numbers or colours (of its pixels or its palette)."""
    raw = read_mask(mask)
    if raw.ndim == 2 and labels.rgb:
        raw = palette_colors(mask)
    return (by_color(labels) if raw.ndim == 3 else labels).encode(raw, str(mask))


def _pair(line: str, number: int, src: Path, options: ReadOptions) -> Pair | None:
    cells = _cells(line)
    files = _files(cells)
    if line[0] == "#" or (number == 1 and not files):
        return None  # a comment, or the names of the columns
    if len(files) < 2:
        raise InputError(
            f"{src}: line {number}: expected a picture and its mask (names that end with .jpg, .png ...), "
            f"got {line[:80]!r}"
        )
    image = _existing(files[0], [options.images or src.parent, src.parent], f"{src}: line {number}")
    mask = _existing(files[1], [src.parent], f"{src}: line {number}")
    return Pair(
        image, mask, next((split for cell in cells if cell not in files and (split := split_of(cell))), None)
    )


def _cells(line: str) -> list[str]:
    separator = next((mark for mark in (",", "\t", ";") if mark in line), None)
    cells = line.split() if separator is None else next(csv.reader([line], delimiter=separator), [])
    return [cell.strip() for cell in cells]


def _files(cells: list[str]) -> list[str]:
    return [cell for cell in cells if Path(cell).suffix.lower() in SUFFIXES]


def _existing(name: str, folders: list[Path], place: str) -> Path:
    relative = name.replace("\\", "/")
    try:
        found = next((folder / relative for folder in folders if (folder / relative).is_file()), None)
    except (OSError, ValueError):  # names that no file can have
        found = None
    if found is None:
        raise InputError(f"{place}: expected the file {name[:200]!r} below {folders[0]}, found none")
    return found


def _name(image: Path, src: Path) -> str:
    base = src.parent
    return str((image.relative_to(base) if image.is_relative_to(base) else image).with_suffix(""))
