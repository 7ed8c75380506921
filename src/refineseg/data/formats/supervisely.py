"""Supervisely: meta.json, and per data set of the project img/ and ann/ with NAME.jpg.json."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import numpy as np

from refineseg.data.formats.format import AnnotatedData, Format, ReadOptions, Shape, not_empty
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.documents import Node, read_json
from refineseg.data.formats.parsing.find_pictures import split_in_path
from refineseg.data.formats.parsing.label_files import hex_color
from refineseg.data.formats.parsing.shapes import Region, paste, polygon
from refineseg.data.formats.parsing.tables import begins_like
from refineseg.data.pictures.pillow import decoding, open_image
from refineseg.errors import InputError
from refineseg.labels import Color

BYTES, HEADER = 8, 1 << 20  # of a PNG at most: per pixel, and beside its pixels
PLACES = ("ann/*.json", "*/ann/*.json", "*/*/ann/*.json")
PAINTED = ("polygon", "bitmap", "rectangle", "any")


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The objects of all data sets, later ones on top; classes as in meta.json."""
    files = not_empty(_files(src), "a Supervisely project (meta.json, ann/ with NAME.jpg.json)", src)
    found = AreaReader(src, options)
    shapes: dict[str, str] = {}
    colors: dict[str, Color] = {}
    meta = next((path for path in (src / "meta.json", src.parent / "meta.json") if path.is_file()), None)
    with options.faults.collect():
        for node in read_json(meta)["classes"] if meta else ():
            name, color = node["title"].text(), node.get("color")
            shapes[name] = node.optional("shape", "any").text()
            if color is not None and (rgb := hex_color(color.text())) is not None:
                colors[name] = rgb
    for file in files:
        with options.faults.collect():
            document = read_json(file)
            areas = found.areas(document["objects"], _area)
            found.annotated.append(_annotated(document, file, areas, found))
    classes = [name for name, shape in shapes.items() if shape in PAINTED or name in found.used]
    dropped = [name for name in shapes if name not in classes]
    notes = [f"classes of shapes without area were left out: {', '.join(dropped)}"] if dropped else []
    return found.source(classes, notes, colors=colors)


def _files(src: Path) -> list[Path]:
    """The annotations of a project (meta.json and ann/ folders), of one of its data sets, or of a folder."""
    found = {file for place in PLACES for file in src.glob(place)} if src.is_dir() else set()
    sized = [file for file in sorted(found) if begins_like(file, "{", '"size"')]
    return [file for file in sized if begins_like(file, "{", '"objects"', '"geometryType"')]


def _annotated(document: Node, file: Path, areas: list[Area], found: AreaReader) -> Annotated:
    size = document["size"]
    declared = (size["height"].integer(), size["width"].integer())
    relative = file.relative_to(found.src)
    folders = [file.parent.parent / "img", file.parent.parent / "images", file.parent]
    name = file.name.removesuffix(".json")
    path = found.pictures.find(name, str(file), first=folders)
    folder = relative.parts[0] if len(relative.parts) > 2 else ""
    stem = Path(name).stem if Path(name).suffix else name
    return Annotated(f"{folder}/{stem}".lstrip("/"), path, areas, split_in_path(relative), declared, str(file))


def _area(node: Node) -> Area | Skipped:
    kind, name = node["geometryType"].text(), node["classTitle"].text()
    if kind not in PAINTED:
        return Skipped("object", f"of type {kind}, without an area", name)
    exterior = node.optional("points", {}).get("exterior")
    if exterior is not None and exterior.empty():
        return Skipped("object", "without points", name)
    return Area(name, node.place, partial(_region, node))


def _region(node: Node, shape: Shape) -> Region:
    bitmap = node.get("bitmap")
    if bitmap is not None:
        return _bitmap(bitmap, shape)
    points = node["points"]
    exterior = points["exterior"]
    if node["geometryType"].value == "rectangle":
        (left, top), (right, bottom) = exterior.points(2)[:2]
        left, right, top, bottom = min(left, right), max(left, right), min(top, bottom), max(top, bottom)
        # Coordinates are pixel indices, and both corners belong to the rectangle.
        return polygon([(left, top), (right + 1, top), (right + 1, bottom + 1), (left, bottom + 1)], shape)
    region = polygon(exterior.points(3), shape)
    for hole in points.optional("interior", []):
        region &= ~polygon(hole.points(3), shape)
    return region


def _bitmap(node: Node, shape: Shape) -> Region:
    """``data``: a PNG, zlib-compressed, in base64; ``origin``: where its first pixel lies."""
    left, top = (int(value) for value in node["origin"].numbers()[:2])
    packed, unpacker = node["data"].base64(), zlib.decompressobj()
    with decoding(f"{node.place}.data", "a compressed PNG"):
        data = unpacker.decompress(packed, BYTES * shape[0] * shape[1] + HEADER)
        if unpacker.unconsumed_tail:
            raise InputError(
                f"{node.place}.data: expected a PNG of at most the picture's size, it unpacks to more"
            )
        with open_image(data) as image:
            drawn = image.getchannel("A") if "A" in image.getbands() else image.convert("L")
            crop = np.asarray(drawn) > 0
    return paste(crop, left, top, shape, node.place)


FORMAT = Format(
    name="supervisely",
    title="Supervisely project",
    needs="a meta.json with classes, and folders img/ and ann/ with NAME.jpg.json",
    fits=_files,
    read=read,
    marks=("file meta.json", "folder ann", "folder img", "json key objects"),
)
