"""Label Studio's JSON export: brushes, polygons, rectangles and ellipses, in percent of the picture."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from refineseg.data.formats import labelstudio_rle
from refineseg.data.formats.base import Item, ReadOptions, Shape, Source, check_size, find_picture, head
from refineseg.data.formats.classes import Names, find_labels, names_of
from refineseg.data.formats.nodes import Node, read_json
from refineseg.data.formats.shapes import Region, ellipse, polygon, turn
from refineseg.data.images import SUFFIXES
from refineseg.errors import InputError
from refineseg.labels import UInt8

LABEL_KEYS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # what the server puts before an uploaded file's name


def fits(src: Path) -> bool:
    """A JSON file that is a list of tasks, or a folder with one."""
    return _file(src) is not None


def read(src: Path, options: ReadOptions) -> Source:
    """The annotated tasks of an export; of several annotations of a task the last counts."""
    file = _file(src)
    if file is None:
        raise InputError(f"expected Label Studio's JSON export (a list of tasks) at {src}, found none")
    if options.labels is None:
        options = ReadOptions(find_labels(file.parent), options.images, options.unlabelled)
    tasks = [(task, _results(task)) for task in read_json(file)]
    annotated = [(task, results) for task, results in tasks if results is not None]
    if not annotated:
        raise InputError(f"{file}: expected annotated tasks, found none among {len(tasks)}")
    found = {label for _, results in annotated for node in results if (label := _label(node)) is not None}
    left_out = sum(_label(node) is None for _, results in annotated for node in results)
    names = names_of(sorted(found), options, str(file))
    items = [_item(task, results, file, options, names) for task, results in annotated]
    notes = []
    if len(annotated) < len(tasks):
        notes.append(f"{len(tasks) - len(annotated)} tasks without annotation were left out")
    if left_out:
        notes.append(f"{left_out} results without a class or an area (choices, key points ...) were left out")
    return Source(names.label_map, items, tuple(notes))


def _file(src: Path) -> Path | None:
    candidates = [src] if src.is_file() else sorted(src.glob("*.json"))
    return next((path for path in candidates if path.suffix.lower() == ".json" and _is_export(path)), None)


def _is_export(path: Path) -> bool:
    start = head(path)
    return start.startswith("[") and any(key in start for key in ('"data"', '"annotations"', '"completions"'))


def _results(task: Node) -> list[Node] | None:
    """The results of the last annotation that was not cancelled, or None."""
    chosen = None
    for annotation in task["annotations"]:
        cancelled = annotation.get("was_cancelled")
        if cancelled is None or cancelled.value is not True:
            chosen = annotation
    return None if chosen is None else list(chosen["result"])


def _label(node: Node) -> str | None:
    value = node.get("value")
    if value is None:
        return None
    labels = next((found for key in LABEL_KEYS if (found := value.get(key)) is not None), None)
    if labels is None:
        return None
    first = next(iter(labels), None)
    if first is None:
        raise labels.fail("a list with a class name")
    return first.text()


def _item(task: Node, results: list[Node], file: Path, options: ReadOptions, names: Names) -> Item:
    url = _picture_url(task)
    split = urlsplit(url.text())
    local = parse_qs(split.query).get("d")
    name = unquote(local[0] if local else split.path)
    folders = (
        [options.images]
        if options.images
        else [file.parent, file.parent / "images", file.parent.parent / "images"]
    )
    plain = Path(name).with_name(UPLOAD.sub("", Path(name).name)) if Path(name).name else Path(name)
    try:
        path = find_picture(name.lstrip("/"), folders, url.place)
    except InputError:
        if plain == Path(name):
            raise
        path = find_picture(str(plain).lstrip("/"), folders, url.place)
    return Item(path.stem, path, partial(_paint, results, names))


def _picture_url(task: Node) -> Node:
    """The value of ``data`` that names a picture."""
    data = task["data"]
    if not isinstance(data.value, dict):
        raise data.fail("an object with the picture's address")
    for key, value in data.value.items():
        if isinstance(value, str) and any(suffix in value.lower() for suffix in SUFFIXES):
            return data[key]
    raise data.fail("the address of a picture")


def _paint(results: list[Node], names: Names, shape: Shape) -> UInt8:
    labels = np.full(shape, names.fill, np.uint8)
    for node in results:
        label = _label(node)
        if label is None:
            continue
        if node.get("original_width") is not None and node.get("original_height") is not None:
            check_size((node["original_height"].integer(), node["original_width"].integer()), shape, node.place)
        rotation = node.get("image_rotation")
        if rotation is not None and rotation.number() != 0:
            raise rotation.fail("a picture that was not turned in the tool (0)")
        labels[_region(node["value"], shape)] = names.train_id(label, node.place)
    return labels


def _region(value: Node, shape: Shape) -> Region:
    if value.get("rle") is not None:
        numbers = [byte.integer() for byte in value["rle"]]
        if any(number > 255 for number in numbers):
            raise value["rle"].fail("bytes 0..255")
        return labelstudio_rle.decode(bytes(numbers), shape, value["rle"].place)
    sx, sy = shape[1] / 100, shape[0] / 100
    if value.get("points") is not None:
        return polygon([(x * sx, y * sy) for x, y in value["points"].points(3)], shape)
    left, top = value["x"].number() * sx, value["y"].number() * sy
    rotation = value.get("rotation")
    degrees = 0.0 if rotation is None else rotation.number()
    if value.get("radiusX") is not None:
        radii = (value["radiusX"].number() * sx, value["radiusY"].number() * sy)
        return ellipse((left, top), radii, shape, degrees)
    right, bottom = left + value["width"].number() * sx, top + value["height"].number() * sy
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    # Its rectangles turn about their first corner.
    return polygon([turn(corner, (left, top), degrees) for corner in corners], shape)
