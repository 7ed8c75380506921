"""Supervisely: meta.json, and for every data set of the project img/ and ann/ with NAME.jpg.json."""

from __future__ import annotations

import base64
import binascii
import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from refineseg.data.formats.base import Format, ReadOptions, Shape, Source
from refineseg.data.formats.parsing.areas import Annotated, Area, LeftOut, items_of, unused_note
from refineseg.data.formats.parsing.classes import names_of
from refineseg.data.formats.parsing.json_nodes import Node, read_json
from refineseg.data.formats.parsing.label_files import find_labels, hex_color
from refineseg.data.formats.parsing.pictures import Pictures, split_of_path
from refineseg.data.formats.parsing.shapes import Region, paste, polygon
from refineseg.data.formats.parsing.texts import head
from refineseg.errors import InputError

PAINTED = ("polygon", "bitmap", "rectangle", "any")
NO_AREA = "objects of type {} have no area"


def fits(src: Path) -> bool:
    """A project (meta.json with classes and ann/ folders), one of its data sets, or a folder of annotations."""
    return bool(_files(src))


def read(src: Path, options: ReadOptions) -> Source:
    """The objects of all data sets in their order, later ones on top; classes as in meta.json."""
    files = _files(src)
    if not files:
        raise InputError(
            f"expected a Supervisely project (meta.json, ann/ with NAME.jpg.json) at {src}, found none"
        )
    if options.labels is None:
        options = replace(options, labels=find_labels(src))
    declared: dict[str, str] = {}
    colors = {}
    meta = next((path for path in (src / "meta.json", src.parent / "meta.json") if path.is_file()), None)
    with options.faults.collect():
        for node in read_json(meta)["classes"] if meta else ():
            name = node["title"].text()
            declared[name] = node["shape"].text() if node.get("shape") is not None else "any"
            color = node.get("color")
            if color is not None and (rgb := hex_color(color.text())) is not None:
                colors[name] = rgb
    pictures = Pictures(src, [], options.images)
    left_out, used = LeftOut(), set[str]()
    annotated = []
    for file in files:
        with options.faults.collect():
            document = read_json(file)
            annotated.append(_annotated(document, file, src, pictures))
            for node in document["objects"]:
                with options.faults.collect():
                    kind, name = node["geometryType"].text(), node["classTitle"].text()
                    if kind in PAINTED and _has_no_points(node):
                        left_out.add("objects have no points", name)
                    elif kind in PAINTED:
                        used.add(name)
                    else:
                        left_out.add(NO_AREA.format(kind), name)
    options.faults.stop_if_nothing_is_left(annotated, src)
    classes = [name for name, shape in declared.items() if shape in PAINTED or name in used]
    names = names_of([*classes, *sorted(used)], options, str(src), colors)
    dropped = [name for name in declared if name not in classes]
    notes = [f"classes that cannot have an area are no classes: {', '.join(dropped)}"] if dropped else []
    notes += [*left_out.notes(), *unused_note(classes, used), *names.notes, *pictures.notes()]
    items = items_of(annotated, names, options)
    return Source(names.label_map, items, tuple(notes), unannotated=pictures.unannotated())


def _files(src: Path) -> list[Path]:
    if not src.is_dir():
        return []
    found = sorted(
        {file for place in ("ann/*.json", "*/ann/*.json", "*/*/ann/*.json") for file in src.glob(place)}
    )
    return [file for file in found if _is_annotation(file)]


def _is_annotation(path: Path) -> bool:
    start = head(path)
    return start.startswith("{") and ('"objects"' in start or '"geometryType"' in start) and '"size"' in start


def _annotated(document: Node, file: Path, src: Path, pictures: Pictures) -> Annotated:
    size = document["size"]
    declared = (size["height"].integer(), size["width"].integer())
    relative = file.relative_to(src)
    folders = [file.parent.parent / "img", file.parent.parent / "images", file.parent]
    name = file.name.removesuffix(".json")
    path = pictures.find(name, str(file), first=folders)
    folder = relative.parts[0] if len(relative.parts) > 2 else ""
    stem = Path(name).stem if Path(name).suffix else name
    areas = partial(_areas, document)
    return Annotated(f"{folder}/{stem}".lstrip("/"), path, areas, split_of_path(relative), declared, str(file))


def _areas(document: Node) -> Iterator[Area]:
    for node in document["objects"]:
        try:
            kind, name = node["geometryType"].text(), node["classTitle"].text()
        except InputError:  # a fault since it was counted
            continue
        if kind in PAINTED and not _has_no_points(node):
            yield Area(name, node.place, partial(_region, node))


def _has_no_points(node: Node) -> bool:
    points = node.get("points")
    exterior = None if points is None else points.get("exterior")
    return exterior is not None and exterior.empty()


def _region(node: Node, shape: Shape) -> Region:
    bitmap = node.get("bitmap")
    if bitmap is not None:
        return _bitmap(bitmap, shape)
    points = node["points"]
    exterior = points["exterior"]
    if node["geometryType"].value == "rectangle":
        (left, top), (right, bottom) = exterior.points(2)[:2]
        left, right, top, bottom = min(left, right), max(left, right), min(top, bottom), max(top, bottom)
        # Its coordinates are those of pixels, and both corners belong to the rectangle.
        return polygon([(left, top), (right + 1, top), (right + 1, bottom + 1), (left, bottom + 1)], shape)
    region = polygon(exterior.points(3), shape)
    interior = points.get("interior")
    for hole in interior if interior is not None else ():
        region &= ~polygon(hole.points(3), shape)
    return region


def _bitmap(node: Node, shape: Shape) -> Region:
    """``data``: a PNG, zlib-compressed, in base64; ``origin``: where its first pixel lies."""
    left, top = (int(value) for value in node["origin"].numbers()[:2])
    try:
        data = zlib.decompress(base64.b64decode(node["data"].text(), validate=True))
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            drawn = image.getchannel("A") if "A" in image.getbands() else image.convert("L")
            crop = np.asarray(drawn) > 0
    except InputError:
        raise
    except (binascii.Error, zlib.error, Exception) as error:  # decoders raise OSError, ValueError ...
        raise InputError(f"{node.place}.data: expected a compressed PNG in base64, cannot read it") from error
    return paste(crop, left, top, shape, node.place)


FORMAT = Format(
    name="supervisely",
    title="Supervisely project",
    needs="a meta.json with classes, and folders img/ and ann/ with NAME.jpg.json",
    fits=fits,
    read=read,
    marks=("file meta.json", "folder ann", "folder img", "json key objects"),
)
