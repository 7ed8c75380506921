"""Pictures annotated with areas (polygons, boxes, masks), painted as train ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refineseg.data.formats.format import (
    AnnotatedData,
    Faults,
    Item,
    PictureSource,
    ReadOptions,
    Shape,
    Unannotated,
)
from refineseg.data.formats.parsing.class_names import ClassNames, class_names_of
from refineseg.data.formats.parsing.find_pictures import Pictures, check_size, named
from refineseg.data.formats.parsing.label_files import find_labels
from refineseg.data.formats.parsing.shapes import Region, bounds
from refineseg.labels import IGNORE, Color, UInt8
from refineseg.system.text import counted


@dataclass(frozen=True)
class Area:
    """An annotated area."""

    label: str  # class name
    place: str  # file and position of the class name, for errors
    draw: Callable[[Shape], Region]  # from the picture's (height, width) to its pixels; raises InputError
    below: bool = False  # whether it is painted below all others
    ignored: bool = False  # whether its pixels are ignored


@dataclass(frozen=True)
class Skipped:
    """An annotation without pixels: ``shape``, why, such as ``without points``, and its class name."""

    noun: str
    reason: str
    label: str = ""


@dataclass(frozen=True)
class Annotated:
    """A picture and its areas."""

    # as in Item
    name: str
    image: PictureSource
    areas: Sequence[Area]  # the areas, later ones on top
    split: str | None = None
    size: Shape | None = None  # height and width stated by the annotation, if any
    place: str = ""  # file and position of the annotation, for an error about the size
    largest_first: bool = False  # whether areas are painted from large to small instead


class AreaReader:
    """Collects the pictures (expected in ``folders``), areas and class names of a source.

    Labels are taken from the source if the options have none.
    """

    def __init__(self, src: Path, options: ReadOptions, folders: Iterable[Path] = ()) -> None:
        self.src, self.root = src, src if src.is_dir() else src.parent
        self.options = replace(options, labels=options.labels or find_labels(self.root))
        self.pictures = Pictures(src, folders, options.images)
        self.annotated: list[Annotated] = []
        self.used = Counter[str]()
        self.left_out = Counter[Skipped]()

    def areas(self, annotations: Iterable[Any], area_of: Callable[[Any], Area | Skipped]) -> list[Area]:
        """The areas of a picture's annotations; those without one are counted, bad ones are faults."""
        found = []
        for annotation in annotations:
            with self.options.faults.collect():
                area = area_of(annotation)
                if isinstance(area, Skipped):
                    self.left_out[area] += 1
                else:
                    self.used[area.label] += 1
                    found.append(area)
        return found

    def source(
        self,
        classes: Iterable[str] | None = None,
        notes: Iterable[str] = (),
        warnings: Iterable[str] = (),
        colors: Mapping[str, Color] | None = None,
        unannotated: Sequence[Unannotated] | None = None,
    ) -> AnnotatedData:
        """The data set, with additional notes and warnings.

        ``classes`` are in the order of their train ids, in alphabetical order if None; ``unannotated`` pictures
        are searched for next to the others if None.
        """
        self.options.faults.stop_if_nothing_is_left(self.annotated, self.src)
        self.annotated, doubled = _once_each(self.annotated, self.options.faults)
        used = sorted(self.used)
        names = class_names_of(
            [*(used if classes is None else classes), *used], self.options, str(self.src), colors
        )
        items = [
            Item(picture.name, picture.image, partial(_paint, picture, names, self.options.faults), picture.split)
            for picture in self.annotated
        ]
        empty = sum(not picture.areas for picture in self.annotated)
        said = [f"{counted(empty, 'picture')} without an area: all pixels are unlabelled"] if empty else []
        for noun, reason in dict.fromkeys((item.noun, item.reason) for item in self.left_out):
            counts = {item.label: count for item, count in self.left_out.items() if item.reason == reason}
            said.append(f"left out {counted(sum(counts.values()), noun)} {reason}{class_counts(counts)}")
        said += [*notes, *names.notes, *self.pictures.notes()]
        if any(picture.largest_first for picture in self.annotated):
            said.append("where instances overlap the smaller one is on top")
        alone = self.pictures.unannotated() if unannotated is None else unannotated
        return AnnotatedData(names.label_map, items, tuple(said), (*warnings, *doubled), alone)


def _once_each(annotated: Sequence[Annotated], faults: Faults) -> tuple[list[Annotated], list[str]]:
    """Each picture once, with the areas of all its annotations, and a warning if there were several."""
    found: dict[PictureSource, Annotated] = {}
    doubled: dict[PictureSource, str] = {}
    for picture in annotated:
        first = found.setdefault(picture.image, picture)
        if first is picture:
            continue
        if None not in (first.size, picture.size) and first.size != picture.size:
            faults.add(f"{picture.place}: expected one size for {picture.image}, got another in {first.place}")
            continue
        doubled[picture.image] = Path(picture.image).name if isinstance(picture.image, Path) else picture.name
        found[picture.image] = replace(first, areas=[*first.areas, *picture.areas])
    if not doubled:
        return list(found.values()), []
    shown = named(list(doubled.values()))
    return list(found.values()), [
        f"merged the areas of {counted(doubled, 'picture')} annotated more than once: {shown}"
    ]


def _paint(picture: Annotated, names: ClassNames, faults: Faults, shape: Shape) -> UInt8:
    """HxW train ids; an area that cannot be drawn becomes a fault."""
    if picture.size is not None:
        check_size(picture.size, shape, picture.place)
    drawn = []
    for area in picture.areas:
        with faults.collect():
            train_id = names.train_id(area.label, area.place)
            if train_id is None:
                continue
            region = area.draw(shape)
            if not region.any():
                faults.without_pixels[area.label] += 1
                continue
            left, top, right, bottom = bounds(region)
            size = int(region.sum()) if picture.largest_first else 0
            window = (slice(top, bottom), slice(left, right))
            value = IGNORE if area.ignored else train_id
            drawn.append((not area.below, -size, value, window, region[window].copy()))
    labels = np.full(shape, names.fill, np.uint8)
    for _, _, value, window, inside in sorted(drawn, key=lambda entry: entry[:2]):
        labels[window][inside] = value
    return labels


def class_counts(labels: Mapping[str, int]) -> str:
    """Counts by class name for a note: `` (car 2, road 1)``."""
    named = [f"{label} {count}" for label, count in sorted(labels.items()) if label]
    return f" ({', '.join(named)})" if named else ""
