"""Text files and tables as editors and spreadsheets write them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from refineseg.errors import InputError
from refineseg.system.files import open_file, read_file
from refineseg.system.text import decode_text

SEPARATORS = ("\t", ";", ",")


@dataclass(frozen=True)
class TableRow:
    """A line of a table: its number from 1, its stripped cells, and its text."""

    number: int
    cells: tuple[str, ...]
    text: str


def read_text(path: Path) -> str:
    """A file of UTF-8 or UTF-16, without byte order mark. InputError if it cannot be read or decoded."""
    try:
        text = decode_text(read_file(path))
    except FileNotFoundError as error:
        raise InputError(f"File not found: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected text in UTF-8, cannot read {path}: {error}") from error
    if "\0" in text:
        raise InputError(f"expected text in UTF-8, cannot read {path}: it contains zero bytes")
    return text


def read_rows(path: Path, *, blanks: bool = False) -> list[TableRow]:
    """The rows of a table, without empty lines and comments (``#``). InputError if it cannot be read.

    With ``blanks`` they separate cells if there is no comma, semicolon or tab.
    """
    lines = [(number, line) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    # The separator in most lines; tabs and semicolons win, since cells may contain commas.
    counts = {mark: sum(mark in line for _, line in lines) for mark in SEPARATORS}
    separator = max(SEPARATORS, key=lambda mark: counts[mark])
    if not counts[separator]:
        separator = ""
    rows = []
    for number, line in lines:
        try:
            cells = (
                next(csv.reader([line], delimiter=separator, skipinitialspace=True), []) if separator else [line]
            )
        except csv.Error as error:
            raise InputError(
                f"{path}: line {number}: expected cells separated by {separator!r}, cannot read them: {error}"
            ) from error
        cells = line.split() if blanks and not separator else [cell.strip() for cell in cells]
        if any(cells):
            rows.append(TableRow(number, tuple(cells), line.strip()))
    return rows


def head(path: Path, size: int = 4096) -> str:
    """Beginning of a text file; empty if it cannot be read."""
    try:
        with open_file(path) as stream:
            return decode_text(stream.read(size), "replace").lstrip("\ufeff \t\r\n")
    except OSError:
        return ""


def begins_like(path: Path, opening: str, *keys: str) -> bool:
    """Whether a JSON file begins with a bracket and has one of the keys (with quotes) near its beginning."""
    start = head(path) if path.suffix.lower() == ".json" else ""
    return start.startswith(opening) and any(key in start for key in keys)
