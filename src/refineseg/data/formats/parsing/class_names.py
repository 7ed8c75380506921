"""Class names of a source: cleaned, merged, dropped or renamed, and mapped to train ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from refineseg.colors import class_colors, is_background
from refineseg.data.formats.format import ClassEdits, ReadOptions
from refineseg.data.formats.parsing.shapes import Region
from refineseg.errors import InputError
from refineseg.labels import IGNORE, Color, LabelClass, LabelMap, UInt8, class_name
from refineseg.raw_values import Raw
from refineseg.system.text import composed, counted

IGNORE_NAME = "__ignore__"  # LabelMe's; exports write it
IGNORE_NAMES = frozenset({IGNORE_NAME, "ignore", "void"})
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060"))  # zero-width characters


@dataclass(frozen=True)
class ClassNames:
    """Mapping from names in annotations to train ids."""

    label_map: LabelMap  # the classes
    fill: int  # train id of pixels without annotation
    edits: ClassEdits  # names that were merged, dropped or renamed
    notes: tuple[str, ...] = ()  # names that were cleaned or differ only in case

    def train_id(self, name: str, place: str) -> int | None:
        """Train id of a name: IGNORE for ignored regions, None for dropped classes. InputError for others."""
        edited = edited_name(clean(name), self.edits)
        if edited is None:
            return None
        names = self.label_map.names
        if edited in names:
            return names.index(edited)
        if edited.lower() in IGNORE_NAMES:
            return IGNORE
        if is_background(edited):
            return self.fill
        raise InputError(
            f"{place}: expected one of {counted(names, 'class')} ({', '.join(names)[:120]}), got {edited[:80]!r}; "
            "add it to the labels file"
        )


def clean(name: str) -> str:
    """A name in NFC, without invisible characters and superfluous blanks."""
    return class_name(composed(name).translate(INVISIBLE))


def class_names_of(
    found: Iterable[str], options: ReadOptions, place: str, colors: Mapping[str, Color] | None = None
) -> ClassNames:
    """The classes of ``options.labels``, else the background (depending on ``unlabelled``) and the names found.

    ``found`` is in the order of the train ids; special and repeated names are allowed.
    """
    raw = list(dict.fromkeys(found))
    seen = [name for name in dict.fromkeys(clean(name) for name in raw) if name]
    notes = _spelling(raw, seen)
    if options.labels is not None:
        label_map = by_train_id(edit_labels(options.labels, options.edits))
    else:
        check_edits(options.edits, seen)
        kept = [new for name in seen if (new := edited_name(name, options.edits)) is not None]
        kept = [name for name in dict.fromkeys(kept) if name.lower() not in IGNORE_NAMES]
        if not kept:
            raise InputError(
                f"{place}: expected annotations with class names, found none; give them with --labels"
            )
        own = next((name for name in kept if is_background(name)), None)
        classes = [name for name in kept if not is_background(name)]
        if options.unlabelled == "background" or own is not None:
            classes = [own or "background", *classes]
        chosen = dict(zip(classes, class_colors(classes), strict=True))
        chosen |= {clean(name): color for name, color in (colors or {}).items()}
        label_map = LabelMap.from_names(classes, [chosen[name] for name in classes])
    background = background_id(label_map)
    fill = IGNORE if options.unlabelled == "ignore" or background is None else background
    return ClassNames(label_map, fill, options.edits, notes)


def background_id(label_map: LabelMap) -> int | None:
    """Train id of the background class, or None."""
    return next((i for i, name in enumerate(label_map.names) if is_background(name)), None)


def only_class(label_map: LabelMap | None) -> str | None:
    """The name of the one class besides the background; None if there are others."""
    names = [name for name in label_map.names if not is_background(name)] if label_map else []
    return names[0] if len(names) == 1 else None


def regions(labels: UInt8, label_map: LabelMap) -> list[tuple[str, Region]]:
    """Name and pixels of every class in HxW train ids, except the background."""
    background = background_id(label_map)
    names = dict(enumerate(label_map.names)) | {IGNORE: IGNORE_NAME}
    return [(names[value], labels == value) for value in np.unique(labels).tolist() if value != background]


def by_train_id(labels: LabelMap) -> LabelMap:
    """The same classes with train ids as raw values, 255 ignored."""
    return LabelMap(tuple(replace(item, raw=(index,)) for index, item in enumerate(labels.classes)))


def edited_name(name: str, edits: ClassEdits) -> str | None:
    """Name of a class after merging and renaming; None if it is dropped."""
    merged = next((new for new, old in edits.merge.items() if name in old), name)
    if name in edits.drop or merged in edits.drop:
        return None
    return edits.rename.get(merged, merged)


def check_edits(edits: ClassEdits, known: Sequence[str]) -> None:
    """InputError for a name to merge, drop or rename that is no class."""
    named = [name for old in edits.merge.values() for name in old] + list(edits.drop) + list(edits.rename)
    made = set(edits.merge)
    for name in named:
        if name not in known and name not in made:
            raise InputError(
                f"expected a class to merge, drop or rename of {', '.join(dict.fromkeys(known))}, got {name!r}"
            )


def edit_labels(labels: LabelMap, edits: ClassEdits) -> LabelMap:
    """A label map for the same masks with classes merged, dropped or renamed.

    Values of a dropped class become background, or ignored if there is no background class.
    """
    if edits == ClassEdits():
        return labels
    check_edits(edits, labels.names)
    values: dict[str, list[Raw]] = {}
    first: dict[str, LabelClass] = {}
    dropped: list[Raw] = []
    ignored = list(labels.ignore)
    for item in labels.classes:
        name = edited_name(item.name, edits)
        if name is None:
            dropped += item.raw
        elif name.lower() in IGNORE_NAMES:
            ignored += item.raw
        else:
            first.setdefault(name, item)
            if item.name == name:
                first[name] = item  # keep the colour of the class that others are merged into
            values.setdefault(name, []).extend(item.raw)
    own = next((name for name in values if is_background(name)), None)
    (ignored if own is None else values[own]).extend(dropped)
    if not values:
        raise InputError("expected at least one class after dropping, got none")
    mirrors = {name: _mirror(first[name], edits, values) for name in values}
    classes = [replace(first[name], name=name, raw=tuple(values[name]), mirror=mirrors[name]) for name in values]
    return LabelMap(tuple(classes), tuple(dict.fromkeys(ignored)))


def _mirror(item: LabelClass, edits: ClassEdits, names: Mapping[str, object]) -> str | None:
    mirror = None if item.mirror is None else edited_name(item.mirror, edits)
    return mirror if mirror in names and mirror != edited_name(item.name, edits) else None


def _spelling(raw: Sequence[str], seen: Sequence[str]) -> tuple[str, ...]:
    """Notes on names that were cleaned, and on names that differ only in case."""
    changed = sorted({repr(name) for name in raw if clean(name) != name})
    notes = [f"class names were read without blanks and invisible marks: {', '.join(changed)}"] if changed else []
    by_case: dict[str, list[str]] = {}
    for name in seen:
        by_case.setdefault(name.casefold(), []).append(name)
    notes += [
        f"{' and '.join(names)} are different classes that differ in case only; --merge {names[0]}={names[1]} "
        "makes them one"
        for names in by_case.values()
        if len(names) > 1
    ]
    return tuple(notes)
