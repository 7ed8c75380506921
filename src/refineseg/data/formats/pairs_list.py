"""A CSV or text file with a picture and its mask on every line, and perhaps the split."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.formats.base import Format, ReadOptions, Source
from refineseg.data.formats.parsing.masks import labels_for, source_of
from refineseg.data.formats.parsing.pairs import Pair, Pairs
from refineseg.data.formats.parsing.pictures import split_of
from refineseg.data.formats.parsing.texts import Row, read_rows
from refineseg.data.images import SUFFIXES
from refineseg.errors import InputError

LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".lst")


def fits(src: Path) -> bool:
    """A .csv, .tsv, .txt or .lst file with two file names on its first lines."""
    if not src.is_file() or src.suffix.lower() not in LIST_SUFFIXES:
        return False
    try:
        return any(len(_files(row)) >= 2 for row in read_rows(src, blanks=True)[:2])
    except InputError:
        return False


def read(src: Path, options: ReadOptions) -> Source:
    """The pairs of the list; paths count from the list's folder (or --images for the pictures)."""
    found = Pairs()
    rows = read_rows(src, blanks=True)
    for row in rows[1:] if rows and not _files(rows[0]) else rows:  # the first may name the columns
        with options.faults.collect():
            found.pairs.append(_pair(row, src, options))
    if not found.pairs:
        raise InputError(f"{src}: expected a picture and a mask on every line, such as a.jpg,a.png; found none")
    labels = labels_for(found.pairs, src.parent, options, "'classes: [background, road]' and 'ignore: [255]'")
    return source_of(found, labels)


def _pair(row: Row, src: Path, options: ReadOptions) -> Pair:
    files = _files(row)
    if len(files) < 2:
        raise InputError(
            f"{src}: line {row.number}: expected a picture and its mask (names that end with .jpg, .png ...), "
            f"got {row.text[:80]!r}"
        )
    image = _existing(files[0], [options.images or src.parent, src.parent], f"{src}: line {row.number}")
    mask = _existing(files[1], [src.parent], f"{src}: line {row.number}")
    split = next((split for cell in row.cells if cell not in files and (split := split_of(cell))), None)
    name = str((image.relative_to(src.parent) if image.is_relative_to(src.parent) else image).with_suffix(""))
    return Pair(image, mask, name, split)


def _files(row: Row) -> list[str]:
    return [cell for cell in row.cells if Path(cell).suffix.lower() in SUFFIXES]


def _existing(name: str, folders: list[Path], place: str) -> Path:
    relative = name.replace("\\", "/")
    try:
        found = next((folder / relative for folder in folders if (folder / relative).is_file()), None)
    except (OSError, ValueError):  # names that no file can have
        found = None
    if found is None:
        raise InputError(f"{place}: expected the file {name[:200]!r} below {folders[0]}, found none")
    return found


FORMAT = Format(
    name="list",
    title="CSV or text list of pictures and masks",
    needs="a .csv or .txt file with a picture and its mask on every line",
    fits=fits,
    read=read,
    marks=("suffix .csv", "suffix .txt", "suffix .tsv"),
)
