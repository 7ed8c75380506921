"""Class names of a source: found in it, or given; and where the special names go."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refineseg.config.yaml import read_yaml
from refineseg.data.formats.base import ReadOptions
from refineseg.data.source import read_list
from refineseg.errors import InputError, LabelError
from refineseg.labels import IGNORE, Color, LabelClass, LabelMap

IGNORE_NAME = "__ignore__"  # LabelMe's own; written by the exports
IGNORE_NAMES = frozenset({IGNORE_NAME, "ignore", "void"})
BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__"})
LABEL_FILES = (
    "labels.yaml",
    "labels.yml",
    "class_dict.csv",
    "labels.csv",
    "colors.csv",
    "labelmap.txt",
    "classes.txt",
)


@dataclass(frozen=True)
class Names:
    """From the names in annotations to train ids.

    Attributes:
        label_map: the classes.
        fill: train id of pixels without annotation.
    """

    label_map: LabelMap
    fill: int

    def train_id(self, name: str, place: str) -> int:
        """Train id of a name, IGNORE for names of ignored regions; InputError for unknown ones."""
        names = self.label_map.names
        if name in names:
            return names.index(name)
        if name.lower() in IGNORE_NAMES:
            return IGNORE
        if name.lower() in BACKGROUND_NAMES:
            return self.fill
        raise InputError(
            f"{place}: expected one of the {len(names)} classes ({', '.join(names)[:120]}), got {name[:80]!r}; "
            "add it to the labels file"
        )


def names_of(
    found: Iterable[str], options: ReadOptions, place: str, colors: Mapping[str, Color] | None = None
) -> Names:
    """Classes from the labels that were given, else from the names found, after the background.

    Args:
        found: names in the source, in the order their train ids shall have; special and repeated ones allowed.
        options: ``labels`` are taken as they are; ``unlabelled`` says whether there is a background.
        place: the file or folder, for an error.
        colors: RGB by name, where the source has them.
    """
    if options.labels is not None:
        label_map = by_train_id(options.labels)
        background = background_id(label_map)
        return Names(label_map, IGNORE if options.unlabelled == "ignore" or background is None else background)
    seen = [name for name in dict.fromkeys(found) if name.lower() not in IGNORE_NAMES]
    if not seen:
        raise InputError(f"{place}: expected annotations with class names, found none; give them with --labels")
    own = next((name for name in seen if name.lower() in BACKGROUND_NAMES), None)
    classes = [name for name in seen if name.lower() not in BACKGROUND_NAMES]
    filled = options.unlabelled == "background"
    if filled or own is not None:
        classes = [own or "background", *classes]
    label_map = LabelMap.from_names(classes)
    if colors:
        label_map = LabelMap(
            tuple(replace(item, color=colors.get(item.name, item.color)) for item in label_map.classes)
        )
    return Names(label_map, 0 if filled else IGNORE)


def background_id(label_map: LabelMap) -> int | None:
    """Train id of the class that pixels without annotation have; None if no class is called background."""
    return next((i for i, name in enumerate(label_map.names) if name.lower() in BACKGROUND_NAMES), None)


def by_train_id(labels: LabelMap) -> LabelMap:
    """The same classes for masks that hold train ids, ignored pixels as 255."""
    return LabelMap(tuple(replace(item, raw=(index,)) for index, item in enumerate(labels.classes)))


def find_labels(folder: Path) -> LabelMap | None:
    """The labels file of a folder (``LABEL_FILES``), or None."""
    for name in LABEL_FILES:
        if (folder / name).is_file():
            return read_labels(folder / name)
    return None


def read_labels(path: Path) -> LabelMap:
    """Classes from labels.yaml, from a CSV of name,r,g,b, CVAT's labelmap.txt or a text file with a name a line.

    Raises InputError that names the file.
    """
    try:
        if path.suffix.lower() in (".yaml", ".yml"):
            values = read_yaml(path)
            return LabelMap.from_dict(_by_color_throughout(values))
        lines = read_list(path)
        if path.suffix.lower() == ".csv":
            return _from_colors([_csv_color(line, path) for line in lines if not _is_header(line)])
        if any(line.count(":") >= 3 for line in lines):
            return _from_colors([_labelmap_color(line, path) for line in lines if line[0] != "#"])
        return LabelMap.from_names([line for line in lines if line.lower() not in IGNORE_NAMES])
    except LabelError as error:
        raise LabelError(error if str(path) in str(error) else f"{path}: {error}") from error


def _by_color_throughout(values: Mapping[str, Any]) -> dict[str, Any]:
    """Classes and ignored values of a labels.yaml; if ignored values are colours, ``color`` stands for ``raw``."""
    kept = {key: values[key] for key in ("classes", "ignore") if key in values}
    ignored = kept.get("ignore")
    if isinstance(ignored, list) and any(isinstance(value, list) for value in ignored):
        kept["classes"] = [
            {"raw": [entry["color"]], **entry} if isinstance(entry, dict) and "color" in entry else entry
            for entry in kept.get("classes") or []
        ]
    return kept


def _from_colors(found: list[tuple[str, Color]]) -> LabelMap:
    """Classes by colour; void and the like are ignored."""
    kept = [(name, color) for name, color in found if name.lower() not in IGNORE_NAMES]
    ignored = tuple(color for name, color in found if name.lower() in IGNORE_NAMES)
    return LabelMap(tuple(LabelClass(name, color, (color,)) for name, color in kept), ignored)


def _is_header(line: str) -> bool:
    return not any(letter.isdigit() for letter in line)


def _csv_color(line: str, path: Path) -> tuple[str, Color]:
    row = next(csv.reader([line]))
    return _named_color(row[0] if row else "", row[1:4], line, path)


def _labelmap_color(line: str, path: Path) -> tuple[str, Color]:
    name, color = line.split(":")[:2]
    return _named_color(name, color.split(","), line, path)


def _named_color(name: str, parts: list[str], line: str, path: Path) -> tuple[str, Color]:
    try:
        red, green, blue = (int(part) for part in parts)
    except ValueError as error:
        raise InputError(f"{path}: expected a name and its colour as r, g, b in 0..255, got {line!r}") from error
    return name.strip(), (red, green, blue)
