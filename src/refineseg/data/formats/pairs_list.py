"""A CSV or text file with a picture, its mask and optionally the split on every line."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.formats.format import AnnotatedData, Format, ReadOptions
from refineseg.data.formats.parsing.find_pictures import file_in, split_in_name
from refineseg.data.formats.parsing.layouts import find_layouts
from refineseg.data.formats.parsing.mask_labels import data_of_pairs
from refineseg.data.formats.parsing.pairing import Pair, Pairs
from refineseg.data.formats.parsing.tables import TableRow, read_rows
from refineseg.data.images import MASK_SUFFIXES
from refineseg.errors import InputError

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".lst")


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The pairs of all lists; paths are relative to the list (pictures: to --images if given)."""
    found, seen = Pairs(), set[Path]()
    lists = _lists(src) or [src]
    for file in lists:
        split = split_in_name(file.stem) if len(lists) > 1 else None
        rows = read_rows(file, blanks=True)
        for row in rows[1:] if rows and not _files(rows[0]) else rows:  # the first row may be a header
            with options.faults.collect():
                pair = _pair(row, file, options, split)
                if pair.image in seen:
                    raise InputError(f"{file}: line {row.number}: expected {pair.image} once, got it again")
                seen.add(pair.image)
                found.pairs.append(pair)
    if not found.pairs and not len(options.faults):
        raise InputError(f"{src}: expected a picture and a mask on every line, such as a.jpg,a.png; found none")
    options.faults.stop_if_nothing_is_left(found.pairs, src)
    root = src if src.is_dir() else src.parent
    return data_of_pairs(found, root, options, "'classes: [background, road]' and 'ignore: [255]'")


def _lists(src: Path) -> list[Path]:
    """A list with two file names per line, or those of a folder without mask folders."""
    if src.is_file():
        return [src] if _is_list(src) else []
    if not src.is_dir() or find_layouts(src):  # next to mask folders lists only define splits
        return []
    return [file for file in sorted(src.iterdir()) if file.is_file() and _is_list(file)]


def _is_list(file: Path) -> bool:
    if file.suffix.lower() not in LIST_SUFFIXES:
        return False
    try:
        return any(len(_files(row)) >= 2 for row in read_rows(file, blanks=True)[:2])
    except InputError:
        return False


def _pair(row: TableRow, src: Path, options: ReadOptions, split: str | None) -> Pair:
    files = _files(row)
    if len(files) < 2:
        raise InputError(
            f"{src}: line {row.number}: expected a picture and its mask (names that end with .jpg, .png ...), "
            f"got {row.text[:80]!r}"
        )
    image = file_in([options.images or src.parent, src.parent], files[0], f"{src}: line {row.number}")
    mask = file_in([src.parent], files[1], f"{src}: line {row.number}")
    split = next((said for cell in row.cells if cell not in files and (said := split_in_name(cell))), split)
    name = str((image.relative_to(src.parent) if image.is_relative_to(src.parent) else image).with_suffix(""))
    return Pair(image, mask, name, split)


def _files(row: TableRow) -> list[str]:
    return [cell for cell in row.cells if Path(cell).suffix.lower() in MASK_SUFFIXES]


FORMAT = Format(
    name="list",
    title="CSV or text list of pictures and masks",
    needs="a .csv or .txt file with a picture and its mask on every line, or its folder",
    fits=_lists,
    read=read,
    threshold=True,
    marks=("suffix .csv", "suffix .txt", "suffix .tsv"),
)
