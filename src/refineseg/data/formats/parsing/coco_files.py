"""Shared by COCO's instance and panoptic files: detection, categories, crowds."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from refineseg.data.formats.format import Faults
from refineseg.data.formats.parsing.documents import Node, read_json
from refineseg.data.formats.parsing.find_pictures import split_in_name
from refineseg.data.formats.parsing.tables import head
from refineseg.system.files import LARGEST_TEXT, open_file
from refineseg.system.text import counted

KEYS = ('"info"', '"images"', '"annotations"', '"categories"', '"licenses"')
SEGMENTS = b'"segments_info"'
PLACES = ("*.json", "*/*.json", "*/annotations/*.json")


def coco_files(src: Path) -> list[Path]:
    """COCO JSON files at ``src``; only instances_* and panoptic_* if there are some."""
    if src.is_file():
        return [src] if src.suffix.lower() == ".json" and is_coco(src) else []
    found = sorted({file for place in PLACES for file in src.glob(place) if is_coco(file)})
    return [file for file in found if file.name.startswith(("instances", "panoptic"))] or found


def is_coco(path: Path) -> bool:
    """Whether a file begins like a COCO JSON."""
    start = head(path)
    return start.startswith("{") and any(key in start for key in KEYS) and '"shapes"' not in start


def has_segments(path: Path) -> bool:
    """Whether a COCO JSON is panoptic; in constant memory, since files may have gigabytes."""
    try:
        with open_file(path) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(SEGMENTS, 0, LARGEST_TEXT) >= 0
    except (OSError, ValueError):  # ValueError: an empty file
        return False


@dataclass
class CocoFile:
    """One file: its content, the names of its categories and their places by id, and counts by category."""

    file: Path
    root: Node
    categories: dict[Hashable, str]
    places: dict[Hashable, str]
    used: Counter[str] = field(default_factory=Counter)
    crowds: Counter[str] = field(default_factory=Counter)

    @classmethod
    def read_all(cls, files: Sequence[Path], faults: Faults, src: Path) -> list[Self]:
        """The files with valid categories; the others are faults. FaultsError if none is left."""
        found = []
        for file in files:
            with faults.collect():
                root = read_json(file)
                names = {node["id"].identifier(): node["name"] for node in root["categories"]}
                texts = {id_: node.text() for id_, node in names.items()}
                found.append(cls(file, root, texts, {id_: node.place for id_, node in names.items()}))
        faults.stop_if_nothing_is_left(found, src)
        return found

    @property
    def split(self) -> str | None:
        """The split named by the file or its folder."""
        return split_in_name(self.file.stem) or split_in_name(self.file.parent.name)

    def category(self, annotation: Node) -> Hashable:
        """The id of an annotation's category."""
        id_ = annotation["category_id"].identifier()
        if id_ not in self.categories:
            raise annotation["category_id"].fail(
                f"the id of one of {counted(self.categories, 'category', 'categories')}"
            )
        return id_


def ordered_categories(files: Sequence[CocoFile]) -> list[str]:
    """Category names of several files: by id if the files agree on ids, else in order of occurrence."""
    by_id: dict[Hashable, set[str]] = {}
    by_name: dict[str, set[Hashable]] = {}
    for file in files:
        for id_, name in file.categories.items():
            by_id.setdefault(id_, set()).add(name)
            by_name.setdefault(name, set()).add(id_)
    entries = [entry for file in files for entry in sorted(file.categories.items(), key=_rank)]
    if all(len(ids) == 1 for ids in by_name.values()) and all(len(names) == 1 for names in by_id.values()):
        entries.sort(key=_rank)
    return list(dict.fromkeys(name for _, name in entries))


def _rank(entry: tuple[Hashable, str]) -> tuple[str, int, str]:
    """Sort key: numbers first, then texts."""
    id_ = entry[0]
    return ("", id_, "") if isinstance(id_, int) else ("text", 0, str(id_))


def crowd_notes(files: Sequence[CocoFile], used: Counter[str], meaning: str) -> tuple[list[str], list[str]]:
    """Notes and warnings on crowds, by category; ``meaning`` is ``ReadOptions.crowds``."""
    crowds: Counter[str] = sum((file.crowds for file in files), Counter())
    if not crowds:
        return [], []
    counts = ", ".join(f"{name} {count} of {used[name]}" for name, count in sorted(crowds.items()))
    if meaning == "class":
        return [f"crowd regions (iscrowd) were read as their class: {counts}"], []
    only = sorted(name for name in crowds if crowds[name] == used[name])
    masks = "CVAT and Datumaro write brush masks as crowds: --crowds class reads them as their class"
    notes = [f"crowd regions (iscrowd) are ignored pixels: {counts}; {masks}"]
    if only:
        return notes, [f"{', '.join(only)}: all outlines are crowd regions, so no pixel is left of it; {masks}"]
    return ([], notes) if any(4 * crowds[name] > used[name] for name in crowds) else (notes, [])


def is_crowd(node: Node) -> bool:
    """Whether an annotation or segment is a crowd."""
    crowd = node.optional("iscrowd", False)
    return bool(crowd.value if isinstance(crowd.value, bool) else crowd.integer())
