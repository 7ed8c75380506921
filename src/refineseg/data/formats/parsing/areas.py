"""Pictures annotated with areas (polygons, boxes, masks): from a reader's areas to items of train ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from refineseg.data.formats.base import Item, Picture, ReadOptions, Shape
from refineseg.data.formats.faults import Faults
from refineseg.data.formats.parsing.classes import Names
from refineseg.data.formats.parsing.pictures import check_size
from refineseg.data.formats.parsing.shapes import Region
from refineseg.labels import UInt8


@dataclass(frozen=True)
class Area:
    """An annotated area.

    Attributes:
        label: its class name.
        place: file and place in it, for errors.
        draw: from the picture's (height, width) to its pixels; raises InputError.
    """

    label: str
    place: str
    draw: Callable[[Shape], Region]


@dataclass(frozen=True)
class Annotated:
    """A picture and its areas.

    Attributes:
        name: as in Item.
        image: as in Item.
        areas: gives the areas, later ones on top.
        split: as in Item.
        size: height and width that the annotation was made for, where the source says so.
        place: file and place of the annotation, for an error about the size.
        largest_first: whether areas are painted from large to small instead.
    """

    name: str
    image: Picture
    areas: Callable[[], Iterable[Area]]
    split: str | None = None
    size: Shape | None = None
    place: str = ""
    largest_first: bool = False


def items_of(pictures: Iterable[Annotated], names: Names, options: ReadOptions) -> list[Item]:
    """An item for each picture, painted when it is needed."""
    return [
        Item(picture.name, picture.image, partial(_paint, picture, names, options.faults), picture.split)
        for picture in pictures
    ]


def _paint(picture: Annotated, names: Names, faults: Faults, shape: Shape) -> UInt8:
    """HxW train ids; an area that cannot be drawn is a fault and leaves its pixels as they are."""
    if picture.size is not None:
        check_size(picture.size, shape, picture.place)
    labels = np.full(shape, names.fill, np.uint8)
    drawn: list[tuple[int, int, Region]] = []
    for area in picture.areas():
        with faults.collect():
            train_id = names.train_id(area.label, area.place)
            if train_id is None:
                continue
            region = area.draw(shape)
            if not picture.largest_first:
                labels[region] = train_id
            else:
                drawn.append((int(region.sum()), train_id, region))
    for _, train_id, region in sorted(drawn, key=lambda entry: -entry[0]):
        labels[region] = train_id
    return labels


class LeftOut:
    """Counts what a reader leaves out, by kind and class, for its notes."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, kind: str, label: str = "") -> None:
        """Count one annotation of a kind, such as ``shapes of type line have no area``."""
        self.counts[kind, label] += 1

    def notes(self) -> list[str]:
        """A note for each kind, with the classes it concerns."""
        kinds: dict[str, Counter[str]] = {}
        for (kind, label), count in self.counts.items():
            kinds.setdefault(kind, Counter())[label] += count
        return [
            f"{sum(labels.values())} {kind} and were left out{_listed(labels)}" for kind, labels in kinds.items()
        ]

    def total(self, kind: str) -> int:
        """Annotations of a kind."""
        return sum(count for (found, _), count in self.counts.items() if found == kind)


def _listed(labels: Counter[str]) -> str:
    named = [f"{label} {count}" for label, count in sorted(labels.items()) if label]
    return f" ({', '.join(named)})" if named else ""


def unused_note(declared: Sequence[str], used: Iterable[str]) -> list[str]:
    """A note on classes that are declared but have no area anywhere."""
    found = set(used)
    unused = [name for name in dict.fromkeys(declared) if name not in found]
    return [f"classes without any area: {', '.join(unused)}"] if unused else []
