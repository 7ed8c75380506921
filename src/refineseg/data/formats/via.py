"""VGG Image Annotator (VIA 1 and 2): a JSON or CSV of regions, or a project file; later regions lie on top.

The class of a region is one of its attributes: ``class``, ``label``, ``name`` ... if there is one, else the first.
Regions without a class are of the one class of --labels, if that has only one.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from refineseg.data.formats.format import AnnotatedData, Format, ReadOptions, Shape, not_empty
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.class_names import only_class
from refineseg.data.formats.parsing.documents import Node, read_json
from refineseg.data.formats.parsing.find_pictures import Pictures, split_in_name, split_in_path
from refineseg.data.formats.parsing.shapes import Region, ellipse, polygon
from refineseg.data.formats.parsing.tables import head, read_rows
from refineseg.errors import InputError
from refineseg.system.text import counted

CLASS_ATTRIBUTES = ("class", "label", "name", "category", "type", "object")
PAINTED = ("polygon", "rect", "circle", "ellipse")
UNNAMED = "without a class"
CSV_START = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
PLACES = ("*.json", "*.csv", "*/*.json", "*/*.csv")


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """All pictures that have regions; classes in the order of their names, after the background."""
    files = not_empty(_files(src), "a json or CSV of VGG Image Annotator", src)
    found = AreaReader(src, options, [place for file in files for place in (file.parent, file.parent / "images")])
    only = only_class(found.options.labels)
    unnamed = Counter[str]()
    for file in files:
        with options.faults.collect():
            for entry in _entries(file):
                with options.faults.collect():
                    regions = entry["regions"]  # a list in VIA 2, an object by number in VIA 1
                    by_number = isinstance(regions.value, dict)
                    listed = [node for _, node in regions.items()] if by_number else list(regions)
                    if listed:
                        areas = found.areas(listed, partial(_area, only, unnamed))
                        found.annotated.append(_annotated(entry, file, areas, found.pictures))
    notes = [f"read {counted(n, 'region')} {UNNAMED} as {name}, the only one" for name, n in unnamed.items()]
    advice = (
        "regions without a class are background; if all are of one class, give --labels with it and background"
    )
    left = any(skipped.reason == UNNAMED for skipped in found.left_out)
    return found.source(notes=notes, warnings=[advice] * left)


def _annotated(entry: Node, file: Path, areas: list[Area], pictures: Pictures) -> Annotated:
    name = entry["filename"]
    split = split_in_name(file.stem) or split_in_name(file.parent.name) or split_in_path(Path(name.text()))
    path = pictures.find(name.text(), name.place, split, [file.parent, file.parent / "images"])
    return Annotated(str(Path(name.text()).with_suffix("")), path, areas, split)


def _files(src: Path) -> list[Path]:
    """A JSON, CSV or project of VIA, or those of a folder (also one per split)."""
    files = [src] if src.is_file() else sorted(file for place in PLACES for file in src.glob(place))
    return [file for file in files if _is_via(file)]


def _is_via(path: Path) -> bool:
    start = head(path)
    if path.suffix.lower() == ".csv":
        return start.replace('"', "").startswith(CSV_START)
    if path.suffix.lower() != ".json" or not start.startswith("{"):
        return False
    return "_via_" in start or ('"regions"' in start and '"filename"' in start)


def _entries(file: Path) -> list[Node]:
    """Objects with filename and regions."""
    if file.suffix.lower() == ".csv":
        return _from_csv(file)
    root = read_json(file)
    if root.get("_via_img_metadata") is not None:
        root = root["_via_img_metadata"]
    elif root.get("metadata") is not None and root.get("view") is not None:
        raise InputError(f"{file}: expected a project or export of VIA 1 or 2, got VIA 3; export it as COCO")
    return [node for _, node in root.items()]


def _from_csv(file: Path) -> list[Node]:
    pictures: dict[str, Node] = {}
    for row in read_rows(file)[1:]:
        place = f"{file}: line {row.number}"
        if len(row.cells) < 7:
            raise InputError(f"{place}: expected 7 cells, got {len(row.cells)}")
        name = row.cells[0]
        entry = pictures.setdefault(name, Node({"filename": name, "regions": []}, f"{place}: picture"))
        try:
            shape, attributes = (json.loads(cell or "{}") for cell in row.cells[5:7])
        except (ValueError, RecursionError) as error:
            raise InputError(f"{place}: expected json in region_shape_attributes, cannot read it") from error
        if shape:
            entry.value["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return list(pictures.values())


def _label(region: Node) -> str | None:
    """The class: the value of an attribute, or the key of its one checked box."""
    values: dict[str, Any] = {key: node.value for key, node in region.optional("region_attributes", {}).items()}
    keys = [key for word in CLASS_ATTRIBUTES for key in values if key.lower() == word] or list(values)
    value = values[keys[0]] if keys else None
    if isinstance(value, dict):
        checked = [name for name, is_checked in value.items() if is_checked is True]
        if len(checked) > 1:
            raise InputError(f"{region.place}: expected one class, got {', '.join(checked)}")
        value = next(iter(checked), None)
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    return text or None


def _area(only: str | None, unnamed: Counter[str], region: Node) -> Area | Skipped:
    attributes = region["shape_attributes"]
    kind, label = attributes["name"].text(), _label(region)
    if kind not in (*PAINTED, "point", "polyline", "line"):
        raise attributes["name"].fail(f"one of {', '.join(PAINTED)}, point, polyline")
    if kind not in PAINTED:
        return Skipped("region", f"of type {kind}, without an area", label or "")
    points = attributes.get("all_points_x")
    if kind == "polygon" and points is not None and points.empty():
        return Skipped("region", "without points", label or "")
    if label is None and only is not None:
        unnamed[only] += 1
        label = only
    if label is None:
        return Skipped("region", UNNAMED)
    return Area(label, region.place, partial(_region, attributes))


def _region(node: Node, shape: Shape) -> Region:
    kind = node["name"].text()
    if kind == "polygon":
        xs, ys = node["all_points_x"].numbers(), node["all_points_y"].numbers()
        if len(xs) != len(ys) or len(xs) < 3:
            raise InputError(
                f"{node.place}: expected x and y of at least 3 points, got {len(xs)} x and {len(ys)} y"
            )
        return polygon(list(zip(xs, ys, strict=True)), shape)
    if kind == "rect":
        left, top, width, height = (node[key].number() for key in ("x", "y", "width", "height"))
        return polygon(
            [(left, top), (left + width, top), (left + width, top + height), (left, top + height)], shape
        )
    centre = (node["cx"].number(), node["cy"].number())
    if kind == "circle":
        return ellipse(centre, (node["r"].number(), node["r"].number()), shape)
    turned = math.degrees(node.optional("theta", 0).number())
    return ellipse(centre, (node["rx"].number(), node["ry"].number()), shape, turned)


FORMAT = Format(
    name="via",
    title="VGG Image Annotator json or CSV",
    needs="a json whose entries have filename and regions",
    fits=_files,
    read=read,
    marks=("json key regions", "json key filename", "json key _via_settings"),
)
