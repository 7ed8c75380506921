"""COCO json (Lin et al., 2014): instances as polygons or run lengths, painted into one mask.

Overlapping instances are painted from large to small, so that small ones stay on top; crowds become ignored
pixels below all instances.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from refineseg.data.formats.base import Item, ReadOptions, Shape, Source, check_size, find_picture, head, split_of
from refineseg.data.formats.classes import Names, find_labels, names_of
from refineseg.data.formats.coco_rle import area, decode, to_rle
from refineseg.data.formats.nodes import Node, read_json
from refineseg.errors import InputError
from refineseg.labels import IGNORE, UInt8

KEYS = ('"info"', '"images"', '"annotations"', '"categories"', '"licenses"')


def fits(src: Path) -> bool:
    """A COCO json, or a folder with some (beside the pictures, in annotations/, or one in each split's folder)."""
    return bool(_files(src))


def read(src: Path, options: ReadOptions) -> Source:
    """All COCO files of ``src``; the split comes from a file's or its folder's name."""
    files = _files(src)
    if not files:
        raise InputError(f"expected a COCO json (with images, annotations and categories) at {src}, found none")
    documents = [(file, read_json(file)) for file in files]
    if options.labels is None:
        options = ReadOptions(find_labels(src if src.is_dir() else src.parent), options.images, options.unlabelled)
    categories = {file: _categories(document) for file, document in documents}
    ordered = {id_: name for found in categories.values() for id_, (name, _) in found.items()}
    names = names_of(
        [ordered[id_] for id_ in sorted(ordered, key=lambda id_: (str(type(id_)), id_))], options, str(src)
    )
    items: list[Item] = []
    notes: list[str] = []
    for file, document in documents:
        annotations, empty = _by_image(document)
        if empty:
            notes.append(f"{file.name}: {empty} annotations have no outline and were left out")
        train_ids = {id_: names.train_id(*found) for id_, found in categories[file].items()}
        split = split_of(file.stem) or split_of(file.parent.name)
        painter = _Painter(document, names, train_ids, annotations)
        items += _items(document, file, options, painter, split)
    notes.append("where instances overlap the smaller one is on top; crowds are ignored pixels")
    return Source(names.label_map, items, tuple(notes))


def _files(src: Path) -> list[Path]:
    if src.is_file():
        return [src] if src.suffix.lower() == ".json" and _is_coco(src) else []
    found = [
        file for place in ("*.json", "annotations/*.json", "*/_annotations.coco.json") for file in src.glob(place)
    ]
    found = sorted({file for file in found if _is_coco(file)})
    return [file for file in found if file.name.startswith("instances")] or found


def _is_coco(path: Path) -> bool:
    start = head(path)
    return start.startswith("{") and any(key in start for key in KEYS) and '"shapes"' not in start


def _categories(document: Node) -> dict[Hashable, tuple[str, str]]:
    """Name and its place by id."""
    found: dict[Hashable, tuple[str, str]] = {}
    for node in document["categories"]:
        name = node["name"]
        found[_id(node["id"])] = (name.text(), name.place)
    return found


def _by_image(document: Node) -> tuple[dict[Hashable, list[Node]], int]:
    """Annotations by picture, and how many have no outline."""
    found: dict[Hashable, list[Node]] = {}
    empty = total = 0
    for node in document["annotations"]:
        total += 1
        if node["segmentation"].value in ([], None):
            empty += 1
        else:
            found.setdefault(_id(node["image_id"]), []).append(node)
    if total and empty == total:
        raise InputError(
            f"{document.place}: expected outlines in 'segmentation', all {total} annotations have bounding boxes "
            "only; export the data set with segmentation"
        )
    return found, empty


@dataclass(frozen=True)
class _Painter:
    """Paints the instances of a picture."""

    document: Node
    names: Names
    train_ids: dict[Hashable, int]
    annotations: dict[Hashable, list[Node]]

    def paint(self, image: Node, shape: Shape) -> UInt8:
        """HxW train ids."""
        if image.get("height") is not None and image.get("width") is not None:
            check_size((image["height"].integer(), image["width"].integer()), shape, image.place)
        labels = np.full(shape, self.names.fill, np.uint8)
        instances = []
        for node in self.annotations.get(_id(image["id"]), []):
            crowd = node.get("iscrowd")
            category = node["category_id"]
            train_id = self.train_ids.get(_id(category))
            if train_id is None:
                raise category.fail(f"the id of one of the {len(self.train_ids)} categories")
            rle = to_rle(node["segmentation"], shape)
            is_crowd = crowd is not None and bool(crowd.integer())
            instances.append((not is_crowd, -area(rle), IGNORE if is_crowd else train_id, rle))
        for _, _, train_id, rle in sorted(instances, key=lambda instance: instance[:2]):
            labels[decode(rle)] = train_id
        return labels


def _items(document: Node, file: Path, options: ReadOptions, painter: _Painter, split: str | None) -> list[Item]:
    items, known = [], set()
    beside = file.parent
    places = (beside, beside / "images", beside.parent, beside.parent / "images")
    folders = [options.images] if options.images else list(places)
    if split and not options.images:
        folders += sorted(
            path for path in beside.parent.iterdir() if path.is_dir() and split_of(path.name) == split
        )
    for node in document["images"]:
        id_ = _id(node["id"])
        if id_ in known:
            raise node["id"].fail("an id that no other picture has")
        known.add(id_)
        name = node["file_name"]
        path = find_picture(name.text(), folders, name.place)
        items.append(Item(str(Path(name.text()).with_suffix("")), path, partial(painter.paint, node), split))
    strangers = set(painter.annotations) - known
    if strangers:
        node = painter.annotations[min(strangers, key=str)][0]["image_id"]
        raise node.fail("the id of one of the images")
    return items


def _id(node: Node) -> Hashable:
    """Ids are whole numbers; some tools write text."""
    return node.text() if isinstance(node.value, str) else node.integer()
