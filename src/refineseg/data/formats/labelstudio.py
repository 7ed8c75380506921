"""Label Studio's JSON export: brushes, bit masks, polygons, rectangles and ellipses, in percent of the picture.

A task may show several pictures; ``to_name`` of a region says on which it was drawn. The export does not contain
the labelling interface that defines these names, so they are matched with the keys of ``data``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from refineseg.data.formats.format import AnnotatedData, Format, ReadOptions, Shape, not_empty
from refineseg.data.formats.parsing import brush_rle
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.documents import Node, read_json
from refineseg.data.formats.parsing.find_pictures import Pictures, check_size
from refineseg.data.formats.parsing.shapes import Region, ellipse, polygon, turn
from refineseg.data.formats.parsing.tables import begins_like
from refineseg.data.images import SUFFIXES
from refineseg.data.pictures.pillow import decoding, open_image
from refineseg.errors import InputError
from refineseg.system.text import counted

LABEL_KEYS = (
    "brushlabels", "bitmasklabels", "polygonlabels", "vectorlabels", "rectanglelabels", "ellipselabels", "labels",
)  # fmt: skip
UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # prefix that the server adds to uploaded files
SMALL_WORDS = ("thumb", "preview", "icon", "small")  # in names of fields with a preview


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The annotated tasks of an export; the last annotation of a task counts."""
    file = not_empty(_files(src), "Label Studio's JSON export (a list of tasks)", src)[0]
    beside = [file.parent, file.parent / "images", file.parent.parent / "images"]
    found = AreaReader(src, options, beside)
    total = skipped = 0
    for task in read_json(file):
        total += 1
        with options.faults.collect():
            results = _results(task)
            if results is None:
                skipped += 1
                continue
            for address, drawn in _by_picture(task, results):
                with options.faults.collect():
                    areas = found.areas(drawn, _area)
                    found.annotated.append(_annotated(address, areas, found.pictures))
    if total and skipped == total:
        raise InputError(f"{file}: expected annotated tasks, found none among {total}")
    return found.source(notes=[f"left out {counted(skipped, 'task')} without annotation"] if skipped else [])


def _files(src: Path) -> list[Path]:
    """A JSON file that is a list of tasks, or those of a folder."""
    candidates = [src] if src.is_file() else sorted(src.glob("*.json"))
    return [path for path in candidates if begins_like(path, "[", '"data"', '"annotations"', '"completions"')]


def _results(task: Node) -> list[Node] | None:
    """The results of the last annotation that was not cancelled; None if there is none."""
    kept = [node for node in task["annotations"] if node.optional("was_cancelled", False).value is not True]
    return list(kept[-1]["result"]) if kept else None


def _by_picture(task: Node, results: list[Node]) -> list[tuple[Node, list[Node]]]:
    """The address of each picture of a task, with the results drawn on it by their ``to_name``.

    Raises InputError if a task has several pictures and the right one is not clear.
    """
    fields = _picture_fields(task)
    if len(fields) == 1:
        drawn = {name for node in results if (name := _to_name(node)) is not None and _has_area(node)}
        if len(drawn) > 1:
            raise task["data"].fail(
                f"a picture for each of the names that were drawn on ({', '.join(sorted(drawn))})"
            )
        return [(address, results) for address in fields.values()]
    groups: dict[str, list[Node]] = {}
    for node in results:
        key = _field_of(_to_name(node), fields, results)
        if key is not None:
            groups.setdefault(key, []).append(node)
        elif _has_area(node):
            raise node.fail(f"a to_name that is one of the pictures {', '.join(fields)}")
    if not groups:
        return [(next(iter(fields.values())), results)]
    return [(fields[key], group) for key, group in groups.items()]


def _picture_fields(task: Node) -> dict[str, Node]:
    """The fields of ``data`` that name a picture, without previews if there are others."""
    data = task["data"]
    if not isinstance(data.value, dict):
        raise data.fail("an object with the picture's address")
    found = {
        key: data[key]
        for key, value in data.value.items()
        if isinstance(value, str) and any(suffix in value.lower() for suffix in SUFFIXES)
    }
    if not found:
        raise data.fail("the address of a picture")
    full = {key: node for key, node in found.items() if not any(word in key.lower() for word in SMALL_WORDS)}
    return full or found


def _to_name(node: Node) -> str | None:
    name = node.get("to_name")
    return None if name is None else name.text()


def _field_of(name: str | None, fields: dict[str, Node], results: list[Node]) -> str | None:
    """The field of ``data`` that belongs to an object tag: of the same name or number, or the only candidate.

    In Label Studio's templates the tag of field ``image`` is ``image`` or ``img``, that of ``image1`` is ``img1``.
    """
    if name is None:
        return None
    if name in fields:
        return name
    digits = re.sub(r"\D", "", name)
    alike = [key for key in fields if digits and re.sub(r"\D", "", key) == digits]
    if len(alike) == 1:
        return alike[0]
    named = [key for key in fields if key.lower().startswith(name.lower()[:2]) and not digits]
    if len(named) == 1:
        return named[0]
    drawn = {other for node in results if (other := _to_name(node)) is not None and _has_area(node)}
    if len(drawn) == 1:  # only one picture has results: the field with a usual name
        usual = [key for key in fields if key.lower() in ("image", "img", "picture", "photo", "url")]
        return usual[0] if len(usual) == 1 else None
    return None


def _has_area(node: Node) -> bool:
    value = node.get("value")
    return value is not None and isinstance(value.value, dict) and any(key in value.value for key in LABEL_KEYS)


def _label(node: Node) -> str | None:
    value = node.get("value")
    found = (value.get(key) for key in LABEL_KEYS) if value is not None else ()
    labels = next((labels for labels in found if labels is not None), None)
    if labels is None:
        return None
    names = {name.text() for name in labels}
    if len(names) != 1:
        raise labels.fail("a list with one class name")
    return names.pop()


def _area(node: Node) -> Area | Skipped:
    label = _label(node)
    if label is None:
        return Skipped("result", "without a class or an area (choices, key points ...)")
    value = node["value"]
    if value.get("vectorlabels") is not None and value.optional("closed", True).value is False:
        return Skipped("vector", "left open", label)
    return Area(label, node.place, partial(_drawn, node))


def _annotated(address: Node, areas: list[Area], pictures: Pictures) -> Annotated:
    split = urlsplit(address.text())
    local = parse_qs(split.query).get("d")
    name = unquote(local[0] if local else split.path).lstrip("/")
    plain = UPLOAD.sub("", Path(name).name)
    try:
        path = pictures.find(name, address.place)
    except InputError:
        if not plain or plain == Path(name).name:
            raise
        path = pictures.find(plain, address.place)
    return Annotated(path.stem, path, areas)


def _drawn(node: Node, shape: Shape) -> Region:
    size = node.size("original_height", "original_width")
    if size is not None:
        check_size(size, shape, node.place)
    rotation = node.optional("image_rotation", 0)
    if rotation.number() != 0:
        raise rotation.fail("a picture that was not rotated in the tool (0)")
    return _region(node["value"], shape)


def _region(value: Node, shape: Shape) -> Region:
    if value.get("rle") is not None:
        numbers = [byte.integer() for byte in value["rle"]]
        if any(number > 255 for number in numbers):
            raise value["rle"].fail("bytes 0..255")
        return brush_rle.decode_brush(bytes(numbers), shape, value["rle"].place)
    if value.get("imageDataURL") is not None:
        return _bitmask(value["imageDataURL"], shape)
    sx, sy = shape[1] / 100, shape[0] / 100
    points = value.get("points") or value.get("vertices")
    if points is not None:
        return polygon([(x * sx, y * sy) for x, y in _corners(points)], shape)
    left, top = value["x"].number() * sx, value["y"].number() * sy
    degrees = value.optional("rotation", 0).number()
    if value.get("radiusX") is not None:
        radii = (value["radiusX"].number() * sx, value["radiusY"].number() * sy)
        return ellipse((left, top), radii, shape, degrees)
    right, bottom = left + value["width"].number() * sx, top + value["height"].number() * sy
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    # Rectangles are rotated about their first corner.
    return polygon([turn(corner, (left, top), degrees) for corner in corners], shape)


def _corners(points: Node) -> list[tuple[float, float]]:
    """[x, y] pairs, or the objects with x and y of vectors."""
    if not isinstance(points.value, list) or not any(isinstance(point, dict) for point in points.value):
        return points.points(3)
    corners = [(point["x"].number(), point["y"].number()) for point in points]
    if len(corners) < 3:
        raise points.fail("at least 3 points")
    return corners


def _bitmask(node: Node, shape: Shape) -> Region:
    """``data:image/png;base64,...`` of the picture's size: opaque pixels, or those not black if all are opaque."""
    header, _, data = node.text().partition(",")
    if not header.startswith("data:image/"):
        raise node.fail("a data URL of a picture")
    with decoding(node.place, "a PNG"), open_image(Node(data, node.place).base64()) as image:
        channels = np.asarray(image.convert("RGBA"))
    check_size((channels.shape[0], channels.shape[1]), shape, node.place)
    opaque = channels[..., 3] >= brush_rle.COVERED
    return np.asarray(channels[..., :3].max(axis=2) > 0 if opaque.all() else opaque)


FORMAT = Format(
    name="labelstudio",
    title="Label Studio json export",
    needs="a json that is a list of tasks with data and annotations (not JSON-MIN)",
    fits=_files,
    read=read,
    marks=("json list", "json key data", "json key annotations"),
)
