"""LabelMe and X-AnyLabeling: one JSON file per picture; later shapes lie on top."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from refineseg.data.formats.format import (
    AnnotatedData,
    Format,
    PictureSource,
    Prediction,
    ReadOptions,
    Shape,
    WriteOptions,
    Written,
    not_empty,
)
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.class_names import regions
from refineseg.data.formats.parsing.documents import Node, read_json
from refineseg.data.formats.parsing.find_pictures import Pictures, split_in_path, walk_files
from refineseg.data.formats.parsing.shapes import Outliner, Region, bounds, box, ellipse, paste, polygon
from refineseg.data.formats.parsing.tables import begins_like
from refineseg.data.pictures.pillow import decoding, open_image
from refineseg.errors import InputError
from refineseg.labels import LabelMap

KEYS = ('"shapes"', '"imagePath"', '"imageData"')
CORNERS = ("oriented_rectangle", "rotation", "quadrilateral")  # rotated boxes, stored by their corners
WITHOUT_AREA = ("line", "linestrip", "point", "points", "cuboid")


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """All LabelMe files; classes in the order of their names, after the background."""
    files = not_empty(_files(src), "a folder with LabelMe's JSON files (with 'shapes')", src)
    found = AreaReader(src, options)
    for file in files:
        with options.faults.collect():
            document = read_json(file)
            areas = found.areas(document["shapes"], _area)
            found.annotated.append(_annotated(file, document, areas, found))
    return found.source()


def _files(src: Path) -> list[Path]:
    """LabelMe's JSON files at any depth of a folder, or one such file."""
    files = [src] if src.is_file() else walk_files(src) if src.is_dir() else []
    return [file for file in files if begins_like(file, "{", *KEYS)]


def _area(shape: Node) -> Area | Skipped:
    kind, label = shape.optional("shape_type", "polygon").text(), shape.optional("label", "").value
    name = label if isinstance(label, str) else ""
    if kind in WITHOUT_AREA:
        return Skipped("shape", f"of type {kind}, without an area", name)
    if "points" in shape.value and shape["points"].empty():
        return Skipped("shape", "without points", name)
    return Area(shape["label"].text(), f"{shape.place}.label", partial(_region, shape))


def _annotated(file: Path, document: Node, areas: list[Area], found: AreaReader) -> Annotated:
    relative, size = file.relative_to(found.root).with_suffix(""), document.size("imageHeight", "imageWidth")
    image, split = _picture(document, file, found.pictures), split_in_path(relative)
    return Annotated(str(relative), image, areas, split, size, str(file))


def _picture(document: Node, file: Path, pictures: Pictures) -> PictureSource:
    """The picture: imagePath, else a file named as the JSON, else the bytes in the JSON."""
    path = document["imagePath"]
    beside = [file.parent, file.parent / "images", file.parent.parent / "images"]
    try:
        return pictures.find(path.text(), path.place, first=beside, stem=file.stem)
    except InputError:
        if document.get("imageData") is None:
            raise
    return lambda: read_json(file)["imageData"].base64()  # read again, not kept


def _region(node: Node, shape: Shape) -> Region:
    kind, points = node.optional("shape_type", "polygon").text(), node["points"]
    if kind == "polygon":
        return polygon(points.points(3), shape)
    if kind in CORNERS:  # as LabelMe fills rotated boxes, with all pixels that the border touches
        image = Image.new("1", (shape[1], shape[0]))
        ImageDraw.Draw(image).polygon(points.points(4), fill=1, outline=1)
        return np.asarray(image)
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
    known = ", ".join(("polygon", *CORNERS, "rectangle", "circle", "mask", *WITHOUT_AREA))
    raise InputError(f"{node.place}.shape_type: expected one of {known}, got {kind[:40]!r}")


def _mask(node: Node, shape: Shape) -> Region:
    """A base64 PNG that fills the box from the first point to the second, inclusive, clipped to the picture.

    Fractional corners are truncated, as LabelMe does, or rounded if that fits the size of the PNG.
    """
    (left, top), (right, bottom) = node["points"].points(2)[:2]
    data = node["mask"].base64()
    with decoding(f"{node.place}.mask", "a PNG"), open_image(data) as image:
        crop = np.asarray(image.convert("L")) > 0
    x, y = _start(left, right, crop.shape[1]), _start(top, bottom, crop.shape[0])
    if x is None or y is None:
        width, height = int(right) - int(left) + 1, int(bottom) - int(top) + 1
        raise InputError(
            f"{node.place}.mask: expected {width}x{height} pixels for the box {int(left)},{int(top)}, "
            f"got {crop.shape[1]}x{crop.shape[0]}"
        )
    return paste(crop, x, y, shape, f"{node.place}.mask")


def _start(first: float, last: float, size: int) -> int | None:
    """First pixel of a mask of ``size`` pixels between two corners; None if its size is different."""
    for whole in (int, round):
        if whole(last) - whole(first) + 1 == size:
            return int(whole(first))
    return None


def write(predictions: Iterator[Prediction], label_map: LabelMap, out: Path, options: WriteOptions) -> Written:
    """STEM.json with one polygon per connected component, or with shapes of type ``mask``."""
    files = []
    outliner = Outliner(options.tolerance, options.smallest)
    for prediction in predictions:
        shapes = []
        for name, region in regions(prediction.labels, label_map):
            if options.shapes == "mask":
                shapes.append(_written_mask(name, region))
            else:
                shapes += [_shape(name, "polygon", ring) for ring in outliner.rings(region)]
        document = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": prediction.image_path,
            "imageData": None,
            "imageHeight": prediction.labels.shape[0],
            "imageWidth": prediction.labels.shape[1],
        }
        files.append(out / f"{prediction.stem}.json")
        files[-1].write_text(json.dumps(document, indent=1), encoding="utf-8")
    return Written(files, outliner.notes())


def _shape(name: str, kind: str, points: list[list[float]]) -> dict[str, Any]:
    empty: dict[str, Any] = {"group_id": None, "description": "", "shape_type": kind, "flags": {}}
    return {"label": name, "points": points, **empty, "mask": None}


def _written_mask(name: str, region: Region) -> dict[str, Any]:
    left, top, right, bottom = bounds(region)
    stream = io.BytesIO()
    Image.fromarray(region[top:bottom, left:right].astype(np.uint8) * 255).save(stream, format="PNG")
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return _shape(name, "mask", [[left, top], [right - 1, bottom - 1]]) | {"mask": text}


FORMAT = Format(
    name="labelme",
    title="LabelMe or X-AnyLabeling json files",
    needs="a json for each picture with shapes and imagePath",
    fits=_files,
    read=read,
    write=write,
    marks=("json key shapes", "json key imagePath", "json key imageData"),
)
