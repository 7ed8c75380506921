"""COCO json (Lin et al., 2014): instances as polygons or run lengths, painted into one mask.

Overlapping instances are painted from large to small, so that small ones stay on top. Crowd regions
(``iscrowd: 1``) lie below all instances. COCO means unclear groups by them, which do not count (255); CVAT and
Datumaro write every brush mask as one, which ``crowds: class`` reads as its class.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refineseg.data.formats.base import Format, Item, Prediction, ReadOptions, Shape, Source, WriteOptions, Written
from refineseg.data.formats.faults import Faults
from refineseg.data.formats.parsing import coco_rle
from refineseg.data.formats.parsing.areas import LeftOut
from refineseg.data.formats.parsing.classes import IGNORE_NAME, Names, background_id, names_of
from refineseg.data.formats.parsing.coco_files import coco_files, has_segments, ordered_categories
from refineseg.data.formats.parsing.json_nodes import Node, read_json
from refineseg.data.formats.parsing.label_files import find_labels
from refineseg.data.formats.parsing.pictures import Pictures, check_size, split_of
from refineseg.data.formats.parsing.regions import regions
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelMap, UInt8

NO_OUTLINE = "annotations have no outline"
PLACEHOLDER = "none"  # supercategory of Roboflow's category 0, which groups the others


def fits(src: Path) -> bool:
    """A COCO json, or a folder with some (beside the pictures, in annotations/, or one in each split's folder)."""
    return bool(_files(src))


def read(src: Path, options: ReadOptions) -> Source:
    """All COCO files of ``src``, classes merged by name; the split is in a file's or its folder's name."""
    files = _files(src)
    if not files:
        raise InputError(f"expected a COCO json (with images, annotations and categories) at {src}, found none")
    root = src if src.is_dir() else src.parent
    if options.labels is None:
        options = replace(options, labels=find_labels(root))
    documents = [document for file in files if (document := _opened(file, options.faults)) is not None]
    options.faults.stop_if_nothing_is_left(documents, src)
    left_out, notes = LeftOut(), list[str]()
    for document in documents:
        with options.faults.collect():
            document.sort_annotations(left_out, options.faults)
    used = {name for document in documents for name in document.used}
    placeholders = {name for document in documents for name in document.placeholders} - used
    if placeholders:
        notes.append(f"categories that only group others were left out: {', '.join(sorted(placeholders))}")
    ordered = ordered_categories([document.categories for document in documents])
    names = names_of([name for name in ordered if name not in placeholders], options, str(src))
    pictures = Pictures(src, _folders(files), options.images)
    items = [item for document in documents for item in document.items(names, options, pictures, placeholders)]
    crowds, warnings = _crowd_notes(documents, options)
    empty = sum(document.empty_pictures for document in documents)
    notes += [f"{empty} pictures have no instance: all of them is unlabelled"] if empty else []
    notes += [*left_out.notes(), *names.notes, *pictures.notes(), *crowds]
    notes.append("where instances overlap the smaller one is on top")
    return Source(names.label_map, items, tuple(notes), tuple(warnings), pictures.unannotated())


def _files(src: Path) -> list[Path]:
    return [file for file in coco_files(src) if not has_segments(file)]


def _folders(files: list[Path]) -> list[Path]:
    return [
        folder
        for file in files
        for folder in (file.parent, file.parent / "images", file.parent.parent, file.parent.parent / "images")
    ]


def _opened(file: Path, faults: Faults) -> _Document | None:
    with faults.collect():
        root = read_json(file)
        categories = {node["id"].identifier(): node["name"] for node in root["categories"]}
        names = {id_: node.text() for id_, node in categories.items()}
        groups = {group.text() for node in root["categories"] if (group := _group(node)) is not None}
        placeholders = {
            names[node["id"].identifier()]
            for node in root["categories"]
            if (group := _group(node)) is not None and group.value == PLACEHOLDER and node["name"].value in groups
        }
        return _Document(file, root, names, {id_: node.place for id_, node in categories.items()}, placeholders)
    return None


def _group(category: Node) -> Node | None:
    group = category.get("supercategory")
    return None if group is None or not isinstance(group.value, str) or not group.value.strip() else group


@dataclass
class _Document:
    """One file.

    Attributes:
        file: its path.
        root: its content.
        categories: names by id.
        places: places of the names by id.
        placeholders: categories that stand for all others.
    """

    file: Path
    root: Node
    categories: dict[Hashable, str]
    places: dict[Hashable, str]
    placeholders: set[str]

    def __post_init__(self) -> None:
        self.by_image: dict[Hashable, list[Node]] = {}
        self.crowds: Counter[str] = Counter()
        self.instances: Counter[str] = Counter()
        self.empty_pictures = 0

    @property
    def split(self) -> str | None:
        """The split in the name of the file or its folder."""
        return split_of(self.file.stem) or split_of(self.file.parent.name)

    @property
    def used(self) -> set[str]:
        """Categories with an outline."""
        return set(self.crowds) | set(self.instances)

    def sort_annotations(self, left_out: LeftOut, faults: Faults) -> None:
        """Collect the annotations with an outline by picture; count the others, and crowds by category."""
        known = {node["id"].identifier() for node in self.root["images"] if _has_id(node)}
        total = empty = 0
        with faults.collect():
            for node in self.root["annotations"]:
                total += 1
                with faults.collect():
                    empty += self._sort(node, known, left_out)
        if total and empty == total:
            raise InputError(
                f"{self.root.place}: expected outlines in 'segmentation', all {total} annotations have bounding "
                "boxes or key points only; export the data set with segmentation"
            )

    def _sort(self, node: Node, known: set[Hashable], left_out: LeftOut) -> bool:
        """Put an annotation to its picture; True if it has no outline."""
        id_ = node["category_id"].identifier()
        if id_ not in self.categories:
            raise node["category_id"].fail(f"the id of one of the {len(self.categories)} categories")
        name = self.categories[id_]
        outline = node.get("segmentation")
        if outline is None or outline.empty():
            left_out.add(NO_OUTLINE, name)
            return True
        image = node["image_id"].identifier()
        if image not in known:
            raise node["image_id"].fail("the id of one of the images")
        (self.crowds if _is_crowd(node) else self.instances)[name] += 1
        self.by_image.setdefault(image, []).append(node)
        return False

    def items(self, names: Names, options: ReadOptions, pictures: Pictures, left_out: set[str]) -> list[Item]:
        """An item for each picture; categories without a class are faults."""
        ids: dict[Hashable, int | None] = {}
        for id_, name in self.categories.items():
            with options.faults.collect():
                ids[id_] = None if name in left_out else names.train_id(name, self.places[id_])
        painter = _Painter(names.fill, ids, self.by_image, options.crowds, options.faults)
        items: list[Item] = []
        seen: set[Hashable] = set()
        with options.faults.collect():
            for node in self.root["images"]:
                with options.faults.collect():
                    items.append(self._item(node, painter, pictures, seen))
        return items

    def _item(self, node: Node, painter: _Painter, pictures: Pictures, seen: set[Hashable]) -> Item:
        id_ = node["id"].identifier()
        if id_ in seen:
            raise node["id"].fail("an id that no other picture has")
        seen.add(id_)
        name = node["file_name"]
        path = pictures.find(name.text(), name.place, self.split, self._split_folders)
        self.empty_pictures += id_ not in self.by_image
        return Item(str(Path(name.text()).with_suffix("")), path, partial(painter.paint, node), self.split)

    @property
    def _split_folders(self) -> list[Path]:
        """Folders that are called like the split: images/train beside annotations/instances_train.json."""
        above = self.file.parent.parent
        places = (self.file.parent / "images", above / "images", self.file.parent, above)
        exact = self.file.stem.removeprefix("instances_")
        found = [place / exact for place in places if (place / exact).is_dir()]
        if self.split is None:
            return found
        return found + [
            folder
            for place in places
            if place.is_dir()
            for folder in sorted(place.iterdir())
            if folder.is_dir() and split_of(folder.name) == self.split
        ]


@dataclass(frozen=True)
class _Painter:
    """Paints the instances of a picture."""

    fill: int
    train_ids: dict[Hashable, int | None]
    by_image: dict[Hashable, list[Node]]
    crowds: str
    faults: Faults

    def paint(self, image: Node, shape: Shape) -> UInt8:
        """HxW train ids."""
        if image.get("height") is not None and image.get("width") is not None:
            check_size((image["height"].integer(), image["width"].integer()), shape, image.place)
        labels = np.full(shape, self.fill, np.uint8)
        instances = []
        for node in self.by_image.get(image["id"].identifier(), []):
            with self.faults.collect():
                train_id = self.train_ids.get(node["category_id"].identifier())
                if train_id is None:  # dropped, or its category is a fault
                    continue
                rle = coco_rle.to_rle(node["segmentation"], shape)
                crowd = _is_crowd(node)
                value = IGNORE if crowd and self.crowds == "ignore" else train_id
                instances.append((not crowd, -coco_rle.area(rle), value, rle))
        for _, _, value, rle in sorted(instances, key=lambda instance: instance[:2]):
            labels[coco_rle.decode(rle)] = value
        return labels


def _crowd_notes(documents: list[_Document], options: ReadOptions) -> tuple[list[str], list[str]]:
    """Notes and warnings on crowds, by category."""
    crowds: Counter[str] = sum((document.crowds for document in documents), Counter())
    instances: Counter[str] = sum((document.instances for document in documents), Counter())
    if not crowds:
        return [], []
    counts = ", ".join(f"{name} {count} of {count + instances[name]}" for name, count in sorted(crowds.items()))
    if options.crowds == "class":
        return [f"crowd regions (iscrowd) were read as their class: {counts}"], []
    only = sorted(name for name in crowds if not instances[name])
    masks = "CVAT and Datumaro write brush masks as crowds: --crowds class reads them as their class"
    notes = [f"crowd regions (iscrowd) are ignored pixels: {counts}; {masks}"]
    if only:
        return notes, [f"{', '.join(only)}: all outlines are crowd regions, so no pixel is left of it; {masks}"]
    many = [name for name in crowds if crowds[name] * 4 > crowds[name] + instances[name]]
    return ([], notes) if many else (notes, [])


def _is_crowd(node: Node) -> bool:
    crowd = node.get("iscrowd")
    return crowd is not None and bool(crowd.integer() if not isinstance(crowd.value, bool) else crowd.value)


def _has_id(image: Node) -> bool:
    return isinstance(image.value, dict) and isinstance(image.value.get("id"), int | str | float)


def write(predictions: Iterator[Prediction], label_map: LabelMap, out: Path, _: WriteOptions) -> Written:
    """annotations.json with one compressed RLE for every class of a picture; ids count from 1."""
    background = background_id(label_map)
    names = [name for index, name in enumerate(label_map.names) if index != background] + [IGNORE_NAME]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for prediction in predictions:
        height, width = prediction.labels.shape
        images.append(
            {"id": len(images) + 1, "file_name": prediction.image_name, "height": height, "width": width}
        )
        for name, region in regions(prediction.labels, label_map):
            rle, box = coco_rle.encode(region)
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": names.index(name) + 1,
            }
            annotation |= {"segmentation": rle, "area": int(region.sum()), "bbox": box, "iscrowd": 0}
            annotations.append(annotation)
    categories = [{"id": index, "name": name} for index, name in enumerate(names, 1)]
    file = out / "annotations.json"
    document = {"images": images, "categories": categories, "annotations": annotations}
    file.write_text(json.dumps(document), encoding="utf-8")
    return Written([file])


FORMAT = Format(
    name="coco",
    title="COCO json",
    needs="a json with the lists images, annotations (with segmentation) and categories",
    fits=fits,
    read=read,
    write=write,
    marks=("json key images", "json key annotations", "json key categories", "folder annotations"),
)
