"""CVAT for images 1.1: one XML file with polygons, boxes, ellipses and masks, painted by their z_order."""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from refineseg.data.formats.base import Item, ReadOptions, Shape, Source, check_size, find_picture, head, split_of
from refineseg.data.formats.classes import Names, find_labels, names_of
from refineseg.data.formats.nodes import LARGEST
from refineseg.data.formats.shapes import Points, Region, box, ellipse, polygon, runs_to_region
from refineseg.errors import InputError
from refineseg.labels import Color, UInt8

PAINTED = ("polygon", "box", "ellipse", "mask")
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


def fits(src: Path) -> bool:
    """An XML file with <annotations>, or a folder with annotations.xml."""
    return _file(src) is not None


def read(src: Path, options: ReadOptions) -> Source:
    """The task's pictures, with the classes in the order of the task's labels."""
    file = _file(src)
    if file is None:
        raise InputError(f"expected CVAT's annotations.xml (CVAT for images 1.1) at {src}, found none")
    root = read_xml(file)
    if root.tag != "annotations" or root.find("track") is not None:
        raise InputError(
            f"{file}: expected CVAT for images 1.1 (<annotations> with <image>), got "
            f"{'tracks of a video' if root.tag == 'annotations' else f'<{root.tag}>'}; export it in that format"
        )
    if options.labels is None:
        options = ReadOptions(find_labels(file.parent), options.images, options.unlabelled)
    colors: dict[str, Color] = {}
    found: list[str] = []
    for label in root.iterfind("meta//labels/label"):
        name = (label.findtext("name") or "").strip()
        if not name:
            raise InputError(f"{file}: expected a <name> in every <label> of <meta>, one has none")
        found.append(name)
        color = _hex(label.findtext("color"))
        if color is not None:
            colors[name] = color
    images = root.findall("image")
    left_out = Counter(shape.tag for image in images for shape in image if shape.tag in WITHOUT_AREA)
    used = sorted({_label(shape, file, image) for image in images for shape in image if shape.tag in PAINTED})
    names = names_of([*found, *used], options, str(file), colors)
    items = [_item(image, index, file, options, names) for index, image in enumerate(images)]
    notes = [f"{count} shapes of type {kind} have no area and were left out" for kind, count in left_out.items()]
    return Source(names.label_map, items, tuple(notes))


def read_xml(path: Path) -> Element:
    """The root of an XML file. Document types and entities are refused: they can read files and fill memory."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: expected plain XML, got a document type or entity definition; CVAT writes none")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except FileNotFoundError as error:
        raise InputError(f"expected annotations, found no file {path}") from error
    except (expat.ExpatError, OSError, ValueError, LookupError) as error:
        raise InputError(f"expected XML, cannot read {path} ({error}): is it cut off?") from error


def _file(src: Path) -> Path | None:
    candidates = [src] if src.is_file() else [src / "annotations.xml"]
    return next(
        (path for path in candidates if path.suffix.lower() == ".xml" and "<annotations" in head(path)), None
    )


def _hex(text: str | None) -> Color | None:
    """``#rrggbb`` as RGB."""
    try:
        red, green, blue = bytes.fromhex((text or "").strip().lstrip("#"))
    except ValueError:
        return None
    return red, green, blue


def _item(image: Element, index: int, file: Path, options: ReadOptions, names: Names) -> Item:
    place = f"{file}: image {index}"
    name = _attribute(image, "name", place)
    beside = [file.parent / "images", file.parent]
    path = find_picture(name, [options.images] if options.images else beside, place)
    split = split_of(image.get("subset", "")) or next(
        (s for part in Path(name).parts[:-1] if (s := split_of(part))), None
    )
    return Item(
        str(Path(name).with_suffix("")), path, partial(_paint, image, f"{file}: image {name!r}", names), split
    )


def _paint(image: Element, place: str, names: Names, shape: Shape) -> UInt8:
    declared = (_integer(image, "height", place), _integer(image, "width", place))
    check_size(declared, shape, place)
    labels = np.full(shape, names.fill, np.uint8)
    shapes = [(node, f"{place}: {node.tag} {index}") for index, node in enumerate(image) if node.tag in PAINTED]
    ordered = sorted(shapes, key=lambda pair: _integer(pair[0], "z_order", pair[1], "0"))
    for node, where in ordered:
        labels[_region(node, shape, where)] = names.train_id(_attribute(node, "label", where), where)
    return labels


def _region(node: Element, shape: Shape, place: str) -> Region:
    number = partial(_number, node, place=place)
    turned = _number(node, "rotation", place, "0")
    if node.tag == "polygon":
        return polygon(_points(_attribute(node, "points", place), place), shape)
    if node.tag == "box":
        return box(number("xtl"), number("ytl"), number("xbr"), number("ybr"), shape, turned)
    if node.tag == "ellipse":
        return ellipse((number("cx"), number("cy")), (number("rx"), number("ry")), shape, turned)
    return _mask(node, shape, place)


def _mask(node: Element, shape: Shape, place: str) -> Region:
    left, top, width, height = (_integer(node, key, place) for key in ("left", "top", "width", "height"))
    if min(left, top) < 0 or min(width, height) < 1 or left + width > shape[1] or top + height > shape[0]:
        raise InputError(
            f"{place}: expected a mask inside the picture {shape[1]}x{shape[0]}, "
            f"got {width}x{height} at {left},{top}"
        )
    runs = [_parse(part, "rle", place) for part in _attribute(node, "rle", place).split(",")]
    if any(run != int(run) for run in runs):
        raise InputError(f"{place}: expected rle of whole numbers, got {runs[:4]}")
    region = np.zeros(shape, np.bool_)
    crop = runs_to_region([int(run) for run in runs], (height, width), place)
    region[top : top + height, left : left + width] = crop
    return region


def _points(text: str, place: str) -> Points:
    points = []
    for pair in text.split(";"):
        parts = pair.split(",")
        if len(parts) != 2:
            raise InputError(f"{place}: expected points as x,y;x,y;..., got {pair[:40]!r}")
        points.append((_parse(parts[0], "points", place), _parse(parts[1], "points", place)))
    if len(points) < 3:
        raise InputError(f"{place}: expected at least 3 points, got {len(points)}")
    return points


def _label(node: Element, file: Path, image: Element) -> str:
    return _attribute(node, "label", f"{file}: image {image.get('name')!r}: {node.tag}")


def _attribute(node: Element, key: str, place: str) -> str:
    value = node.get(key)
    if value is None or not value.strip():
        raise InputError(f"{place}: expected the attribute {key!r}, found {', '.join(node.keys())[:80] or 'none'}")
    return value


def _number(node: Element, key: str, place: str, default: str | None = None) -> float:
    text = default if default is not None and node.get(key) is None else _attribute(node, key, place)
    return _parse(text, key, place)


def _integer(node: Element, key: str, place: str, default: str | None = None) -> int:
    value = _number(node, key, place, default)
    if value != int(value):
        raise InputError(f"{place}: expected {key} to be a whole number, got {value}")
    return int(value)


def _parse(text: str, key: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise InputError(f"{place}: expected numbers in {key}, got {text[:40]!r}") from error
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise InputError(f"{place}: expected numbers in {key}, got {text[:40]!r}")
    return value
