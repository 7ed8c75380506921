"""LabelMe: one JSON file per picture with polygons, rectangles, circles and masks; later shapes lie on top."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from refineseg.data.formats.base import (
    Item,
    Picture,
    ReadOptions,
    Shape,
    Source,
    check_size,
    find_picture,
    head,
    split_of,
)
from refineseg.data.formats.classes import Names, find_labels, names_of
from refineseg.data.formats.nodes import Node, read_json
from refineseg.data.formats.shapes import Region, box, ellipse, polygon
from refineseg.data.images import SUFFIXES
from refineseg.errors import InputError
from refineseg.labels import UInt8

KEYS = ('"shapes"', '"imagePath"', '"imageData"')
WITHOUT_AREA = ("line", "linestrip", "point", "points")


def fits(src: Path) -> bool:
    """A folder with LabelMe's JSON files, in it or up to two levels below."""
    return bool(_files(src))


def read(src: Path, options: ReadOptions) -> Source:
    """All LabelMe files; classes in the order of their names, after the background."""
    files = _files(src)
    if not files:
        raise InputError(f"expected a folder with LabelMe's JSON files (with 'shapes'), found none at {src}")
    root = src if src.is_dir() else src.parent
    if options.labels is None:
        options = ReadOptions(find_labels(root), options.images, options.unlabelled)
    found: set[str] = set()
    left_out: Counter[str] = Counter()
    pictures = []
    for file in files:
        document = read_json(file)
        pictures.append(_picture(document, file, options))
        for shape in document["shapes"]:
            kind = _kind(shape)
            if kind in WITHOUT_AREA:
                left_out[kind] += 1
            else:
                found.add(shape["label"].text())
    names = names_of(sorted(found), options, str(src))
    items = [_item(file, root, picture, names) for file, picture in zip(files, pictures, strict=True)]
    notes = [f"{count} shapes of type {kind} have no area and were left out" for kind, count in left_out.items()]
    return Source(names.label_map, items, tuple(notes))


def _files(src: Path) -> list[Path]:
    if src.is_file():
        return [src] if src.suffix.lower() == ".json" and _is_labelme(src) else []
    return sorted(
        file for place in ("*.json", "*/*.json", "*/*/*.json") for file in src.glob(place) if _is_labelme(file)
    )


def _is_labelme(path: Path) -> bool:
    start = head(path)
    return start.startswith("{") and any(key in start for key in KEYS)


def _kind(shape: Node) -> str:
    kind = shape.get("shape_type")
    return "polygon" if kind is None else kind.text()


def _item(file: Path, root: Path, picture: Picture, names: Names) -> Item:
    relative = file.relative_to(root).with_suffix("")
    split = next((split for part in relative.parts[:-1] if (split := split_of(part))), None)
    return Item(str(relative), picture, partial(_paint, file, names), split)


def _picture(document: Node, file: Path, options: ReadOptions) -> Picture:
    """The picture's file: where imagePath says, else one of the JSON's name, else the bytes inside the JSON."""
    path = document["imagePath"]
    folders = (
        [options.images]
        if options.images
        else [file.parent, file.parent / "images", file.parent.parent / "images"]
    )
    try:
        return find_picture(path.text(), folders, path.place)
    except InputError:
        for folder in folders:
            for suffix in sorted(SUFFIXES):
                if (folder / (file.stem + suffix)).is_file():
                    return folder / (file.stem + suffix)
        if document.get("imageData") is None:
            raise
    return partial(_embedded, file)


def _embedded(file: Path) -> bytes:
    return _base64(read_json(file)["imageData"])


def _base64(node: Node) -> bytes:
    try:
        return base64.b64decode(node.text(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"{node.place}: expected base64, cannot read it: is it cut off?") from error


def _paint(file: Path, names: Names, shape: Shape) -> UInt8:
    document = read_json(file)
    if document.get("imageHeight") is not None and document.get("imageWidth") is not None:
        check_size((document["imageHeight"].integer(), document["imageWidth"].integer()), shape, str(file))
    labels = np.full(shape, names.fill, np.uint8)
    for node in document["shapes"]:
        region = _region(node, shape)
        if region is not None:
            label = node["label"]
            labels[region] = names.train_id(label.text(), label.place)
    return labels


def _region(node: Node, shape: Shape) -> Region | None:
    kind = _kind(node)
    points = node["points"]
    if kind == "polygon":
        return polygon(points.points(3), shape)
    if kind == "rectangle":
        corners = points.points(2)
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        return box(min(xs), min(ys), max(xs), max(ys), shape)
    if kind == "circle":
        centre, edge = points.points(2)[:2]
        radius = math.dist(centre, edge)
        return ellipse(centre, (radius, radius), shape)
    if kind == "mask":
        return _mask(node, shape)
    if kind in WITHOUT_AREA:
        return None
    known = ", ".join(("polygon", "rectangle", "circle", "mask", *WITHOUT_AREA))
    raise InputError(f"{node.place}.shape_type: expected one of {known}, got {kind[:40]!r}")


def _mask(node: Node, shape: Shape) -> Region:
    """A base64 PNG that fills the box from the first point to the second, both included."""
    (left, top), (right, bottom) = node["points"].points(2)[:2]
    data = _base64(node["mask"])
    try:
        with Image.open(io.BytesIO(data)) as image:
            crop = np.asarray(image.convert("L")) > 0 if image.mode != "1" else np.asarray(image)
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError ...
        raise InputError(f"{node.place}.mask: expected a PNG, cannot read it: is it cut off?") from error
    x, y, height, width = int(left), int(top), int(bottom) - int(top) + 1, int(right) - int(left) + 1
    inside = x >= 0 and y >= 0 and y + height <= shape[0] and x + width <= shape[1]
    if crop.shape != (height, width) or not inside:
        raise InputError(
            f"{node.place}.mask: expected {width}x{height} pixels inside the picture {shape[1]}x{shape[0]} "
            f"for the box {x},{y}, got {crop.shape[1]}x{crop.shape[0]}"
        )
    region = np.zeros(shape, np.bool_)
    region[y : y + height, x : x + width] = crop
    return region
