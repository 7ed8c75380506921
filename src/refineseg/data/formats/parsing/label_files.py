"""Labels files: labels.yaml, CSV of names with colours or values, CVAT's labelmap.txt, lists of names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refineseg.colors import voc_palette
from refineseg.config.yaml import read_yaml
from refineseg.data.formats.parsing.class_names import IGNORE_NAME, IGNORE_NAMES, clean
from refineseg.data.formats.parsing.tables import TableRow, read_rows
from refineseg.data.images import check_threshold
from refineseg.errors import InputError, LabelError
from refineseg.labels import IGNORE, Color, LabelMap

LABEL_FILES = (
    "labels.yaml",
    "labels.yml",
    "class_dict.csv",
    "labels.csv",
    "colors.csv",
    "_classes.csv",
    "labelmap.txt",
    "classes.txt",
    "class_names.txt",  # of labelme2voc
)
ClassEntry = dict[str, Any]  # a class in the terms of labels.yaml: name, and perhaps color and raw
HEADINGS = frozenset({"name", "names", "class", "classes", "label", "labels", "class name", "class_name"})


def labels_file(folder: Path) -> Path | None:
    """The labels file of a folder (``LABEL_FILES``), or None."""
    return next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)


def find_labels(*folders: Path) -> LabelMap | None:
    """The classes in the labels file of the first folder that has one, or None."""
    file = next((file for folder in folders if (file := labels_file(folder))), None)
    return None if file is None else read_labels(file)


def read_threshold(path: Path) -> int | None:
    """The threshold in a labels.yaml, or None."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return None
    threshold = read_yaml(path).get("threshold")
    return None if threshold is None else check_threshold(threshold, f"{path}: ")


def read_labels(path: Path) -> LabelMap:
    """Classes from labels.yaml, a CSV of names with r,g,b or a value, labelmap.txt, or a text file of names.

    Raises InputError that names the file.
    """
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            return LabelMap.from_dict(_by_color_throughout(read_yaml(path)))
        rows = read_rows(path)
        if path.suffix.lower() == ".csv":
            below = rows[1:] if rows and _is_heading(rows[0]) else rows
            return _label_map([_entry(row, path) for row in below], path)
        if any(row.text.count(":") >= 3 for row in rows):
            return _from_labelmap(rows, path)
        return _by_order([clean(row.text) for row in rows])
    except LabelError as error:
        raise LabelError(error if str(path) in str(error) else f"{path}: {error}") from error


def _by_color_throughout(values: Mapping[str, Any]) -> dict[str, Any]:
    """Classes and ignored values of a labels.yaml; ``color`` replaces ``raw`` if ignored values are colours."""
    kept = {key: values[key] for key in ("classes", "ignore") if key in values}
    ignored = kept.get("ignore")
    if isinstance(ignored, list) and any(isinstance(value, list) for value in ignored):
        kept["classes"] = _by_color(kept.get("classes") or [])
    return kept


def _by_color(classes: list[Any]) -> list[Any]:
    """The classes, with their colours as values in masks if they have no ``raw``."""
    return [
        {"raw": [entry["color"]], **entry} if isinstance(entry, dict) and "color" in entry else entry
        for entry in classes
    ]


def _is_heading(row: TableRow) -> bool:
    if any(letter.isdigit() for letter in row.text):
        return False
    return len(row.cells) > 1 or row.cells[0].lower() in HEADINGS


def _entry(row: TableRow, path: Path) -> ClassEntry:
    """A row of a name and, in any order, a colour (three numbers or ``#rrggbb``) and the mask value."""
    cells = [cell for cell in row.cells if cell]
    colors = [color for cell in cells if (color := hex_color(cell)) is not None]
    numbers = [int(cell) for cell in cells if cell.isascii() and cell.isdigit()]
    texts = [cell for cell in cells if hex_color(cell) is None and not (cell.isascii() and cell.isdigit())]
    value = []
    if len(numbers) == 1:
        value = [numbers.pop()]
    elif len(numbers) == 4 and texts:
        value = [numbers.pop(0 if row.cells.index(texts[0]) == 1 else -1)]
    if len(numbers) == 3:
        colors.append((numbers[0], numbers[1], numbers[2]))
    if len(texts) != 1 or len(numbers) not in (0, 3) or len(colors) > 1:
        raise InputError(
            f"{path}: expected a name and its colour as r, g, b in 0..255 or its mask value, got {row.text[:80]!r}"
        )
    entry = {"name": clean(texts[0])} | ({"color": colors[0]} if colors else {})
    return entry | ({"raw": value} if value else {})


def _from_labelmap(rows: list[TableRow], path: Path) -> LabelMap:
    """CVAT's and Datumaro's ``label:color_rgb:parts:actions``; VOC's palette if there are no colours."""
    entries: list[ClassEntry] = []
    for row in rows:
        name, text = row.text.split(":")[:2]
        parts = [part for part in text.split(",") if part.strip()]
        try:
            numbers = [int(part) for part in parts]
        except ValueError:
            numbers = []
        if parts and len(numbers) != 3:
            raise InputError(f"{path}: expected a name and its colour as r, g, b in 0..255, got {row.text!r}")
        entries.append({"name": clean(name)} | ({"color": tuple(numbers)} if parts else {}))
    if not any("color" in entry for entry in entries):
        palette = voc_palette(len(entries))
        entries = [entry | {"color": color} for entry, color in zip(entries, palette, strict=True)]
    return _label_map(entries, path)


def _label_map(entries: list[ClassEntry], path: Path) -> LabelMap:
    """Classes by value, else by colour, else by order; ``void`` and ``ignore`` are ignored."""
    if not entries:
        raise LabelError(f"{path}: expected a class name on every line, found none")
    if not any("raw" in entry or "color" in entry for entry in entries):
        return _by_order([entry["name"] for entry in entries])
    key, what = ("raw", "mask value") if any("raw" in entry for entry in entries) else ("color", "colour")
    given = sum(key in entry for entry in entries)
    if 0 < given < len(entries):
        raise LabelError(f"{path}: expected a {what} for every class, some have none")
    if key == "color":
        entries = _by_color(entries)
    ignored = [entry for entry in entries if entry["name"].lower() in IGNORE_NAMES]
    labels: dict[str, Any] = {"classes": [entry for entry in entries if entry not in ignored]}
    values = [value for entry in ignored for value in entry.get("raw", [])]
    return LabelMap.from_dict(labels | ({"ignore": values} if values else {}))


def _by_order(names: list[str]) -> LabelMap:
    """Classes numbered by their lines; LabelMe's ``__ignore__`` has no number of its own but -1, 255 in 8 bits."""
    numbered = [name for name in names if name != IGNORE_NAME]
    ignored = [number for number, name in enumerate(numbered) if name.lower() in IGNORE_NAMES]
    classes = [{"name": name, "raw": n} for n, name in enumerate(numbered) if n not in ignored]
    free = [value for value in (IGNORE, -1) if value >= len(numbered) or value < 0]
    return LabelMap.from_dict({"classes": classes, "ignore": ignored + free})


def hex_color(text: str | None) -> Color | None:
    """``#rrggbb`` as RGB; None for anything else."""
    text = (text or "").strip()
    try:
        red, green, blue = bytes.fromhex(text[1:]) if text.startswith("#") else b""
    except ValueError:
        return None
    return red, green, blue
