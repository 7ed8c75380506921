"""CVAT for images 1.1 and for video 1.1: one XML file with polygons, boxes, ellipses and masks by z_order.

A video track has a shape in each frame where it is visible, and one with ``outside="1"`` where it ends. CVAT also
writes the frames between key frames; if they are missing there is a warning, and nothing is interpolated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from refineseg.data.formats.format import (
    AnnotatedData,
    Faults,
    Format,
    Prediction,
    ReadOptions,
    Shape,
    WriteOptions,
    Written,
    not_empty,
)
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.class_names import regions
from refineseg.data.formats.parsing.documents import Node, read_xml
from refineseg.data.formats.parsing.find_pictures import split_in_name, split_in_path
from refineseg.data.formats.parsing.label_files import hex_color
from refineseg.data.formats.parsing.shapes import (
    Points,
    Region,
    bounds,
    box,
    ellipse,
    paste,
    polygon,
    region_to_runs,
    runs_to_region,
)
from refineseg.data.formats.parsing.tables import head
from refineseg.errors import InputError
from refineseg.labels import Color, LabelMap
from refineseg.system.text import counted, escaped

PAINTED = ("polygon", "box", "ellipse", "mask")
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
AREA_TYPES = (None, "any", "polygon", "rectangle", "ellipse", "mask")  # of labels in <meta>


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The task's pictures, with the classes in the order of the task's labels."""
    file = not_empty(_files(src), "an annotations.xml of CVAT for images or for video 1.1", src)[0]
    root = read_xml(file)
    if root.tag != "annotations":
        raise InputError(f"{file}: expected CVAT for images or for video 1.1 (<annotations>), got <{root.tag}>")
    found = AreaReader(src, options, [file.parent / "images", file.parent])
    declared, colors, without_area = _labels(root, file)
    tracks = root.find("track") is not None
    frames = _frames_of_tracks(root, file, options.faults) if tracks else root.findall("image")
    for index, frame in enumerate(frames):
        place = f"{file}: image {frame.get('name')!r}"
        areas = found.areas(sorted(enumerate(frame), key=_z_order), partial(_area, place))
        with options.faults.collect():
            found.annotated.append(_annotated(frame, file, index, areas, found))
    classes = [name for name in declared if name not in without_area or name in found.used]
    dropped = [name for name in declared if name not in classes]
    notes = [f"labels of types without area were left out: {', '.join(dropped)}"] if dropped else []
    return found.source(classes, notes, _gaps(root), colors)


def _files(src: Path) -> list[Path]:
    """An XML file with <annotations>, or those of a folder, annotations.xml first."""
    candidates = [src] if src.is_file() else [src / "annotations.xml", *sorted(src.glob("*.xml"))]
    return [path for path in candidates if path.suffix.lower() == ".xml" and "<annotations" in head(path)]


def _labels(root: Element, file: Path) -> tuple[list[str], dict[str, Color], set[str]]:
    """The task's label names, their colours, and the names of types without area (points, skeleton, tag ...)."""
    found: list[str] = []
    colors: dict[str, Color] = {}
    without_area: set[str] = set()
    for label in root.iterfind("meta//labels/label"):
        name = (label.findtext("name") or "").strip()
        if not name:
            raise InputError(f"{file}: expected a <name> in every <label> of <meta>, one has none")
        found.append(name)
        color = hex_color(label.findtext("color"))
        if color is not None:
            colors[name] = color
        kind = (label.findtext("type") or "any").strip().lower()
        if kind not in AREA_TYPES or label.findtext("parent"):
            without_area.add(name)
    return found, colors, without_area


def _frames_of_tracks(root: Element, file: Path, faults: Faults) -> list[Element]:
    """Tracks as one <image> element per frame with a shape; shapes get the label of their track."""
    frames: dict[int, Element] = {}
    size = root.find("meta//original_size")
    sides = {key: "" if size is None else size.findtext(key) or "" for key in ("width", "height")}
    known = sides if all(sides.values()) else {}
    for index, track in enumerate(root.iterfind("track")):
        label = track.get("label", "")
        for shape in track:
            place = f"{file}: track {index}: {shape.tag}"
            with faults.collect():
                if shape.get("outside") == "1":
                    continue
                at = Node(shape.attrib, place)["frame"].parsed_integer()
                frame = Element("image", {"id": str(at), "name": f"frame_{at:06d}", **known})
                frame = frames.setdefault(at, frame)
                copied = ElementTree.SubElement(frame, shape.tag, {"label": label, **shape.attrib})
                copied.text = shape.text
    return [frames[at] for at in sorted(frames)]


def _gaps(root: Element) -> tuple[str, ...]:
    """A warning if tracks lack shapes in frames between two of theirs in which other tracks have shapes."""
    tracks = []
    for track in root.iterfind("track"):
        shapes = [(shape.get("frame", ""), shape.get("outside") == "1") for shape in track]
        tracks.append({int(frame): outside for frame, outside in shapes if frame.isdecimal()})
    frames = sorted({frame for track in tracks for frame in track})
    gaps = 0
    for own in tracks:
        seen = False
        for at in frames[: frames.index(max(own)) + 1] if own else []:
            gaps += seen and at not in own
            seen = not own[at] if at in own else seen
    if not gaps:
        return ()
    return (
        f"tracks lack {counted(gaps, 'shape')} between key frames, whose pixels are unlabelled here; export "
        "from CVAT again, which writes every frame",
    )


def _annotated(image: Element, file: Path, index: int, areas: list[Area], found: AreaReader) -> Annotated:
    place = f"{file}: image {index}"
    name = Node(image.attrib, place)["name"].text()
    split = split_in_name(image.get("subset", "")) or split_in_path(Path(name))
    path = found.pictures.find(name, place, split)
    node, size = Node(image.attrib, f"{file}: image {name!r}"), None
    if image.get("height") is not None or image.get("width") is not None:
        size = (node["height"].parsed_integer(), node["width"].parsed_integer())
    stem = str(Path(name).with_suffix("")) if Path(name).suffix else name
    return Annotated(stem, path, areas, split, size, node.place)


def _area(image: str, numbered: tuple[int, Element]) -> Area | Skipped:
    index, shape = numbered
    node, label = Node(shape.attrib, f"{image}: {shape.tag} {index}"), shape.get("label", "")
    if shape.tag == "tag":
        return Skipped("tag", "of a whole picture", label)
    if shape.tag not in PAINTED:
        return Skipped("shape", f"of type {shape.tag}, without an area", label)
    if shape.get("points") == "":
        return Skipped("shape", "without points", label)
    return Area(node["label"].text(), node.place, partial(_region, shape.tag, node))


def _z_order(numbered: tuple[int, Element]) -> float:
    """Sort key; an invalid value becomes a fault when the shape is drawn."""
    try:
        return float(numbered[1].get("z_order", "0"))
    except ValueError:
        return 0.0


def _region(kind: str, node: Node, shape: Shape) -> Region:
    node.optional("z_order", "0").parsed_integer()
    turned = node.optional("rotation", "0").parsed()
    if kind == "polygon":
        return polygon(_points(node["points"]), shape)
    if kind == "mask":
        return _mask(node, shape)
    if kind == "box":
        left, top, right, bottom = (node[key].parsed() for key in ("xtl", "ytl", "xbr", "ybr"))
        return box(left, top, right, bottom, shape, turned)
    x, y, across, down = (node[key].parsed() for key in ("cx", "cy", "rx", "ry"))
    return ellipse((x, y), (across, down), shape, turned)


def _mask(node: Node, shape: Shape) -> Region:
    left, top, width, height = (node[key].parsed_integer() for key in ("left", "top", "width", "height"))
    if min(width, height) < 1:
        raise InputError(f"{node.place}: expected a mask of at least one pixel, got {width}x{height}")
    rle = node["rle"]
    runs = [Node(part, rle.place).parsed_integer() for part in rle.text().split(",")]
    return paste(runs_to_region(runs, (height, width), rle.place), left, top, shape, node.place)


def _points(node: Node) -> Points:
    points = []
    for pair in node.text().split(";"):
        parts = [Node(part, node.place) for part in pair.split(",")]
        if len(parts) != 2:
            raise InputError(f"{node.place}: expected points as x,y;x,y;..., got {pair[:40]!r}")
        points.append((parts[0].parsed(), parts[1].parsed()))
    if len(points) < 3:
        raise InputError(f"{node.place}: expected at least 3 points, got {len(points)}")
    return points


def write(predictions: Iterator[Prediction], label_map: LabelMap, out: Path, _: WriteOptions) -> Written:
    """annotations.xml, CVAT for images 1.1, with one run-length <mask> per class and picture."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels_node = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels"
    )
    for item in label_map.classes:
        node = ElementTree.SubElement(labels_node, "label")
        ElementTree.SubElement(node, "name").text = _writable(item.name)
        ElementTree.SubElement(node, "color").text = "#{:02x}{:02x}{:02x}".format(*item.color)
    for index, prediction in enumerate(predictions):
        height, width = (str(side) for side in prediction.labels.shape)
        name = _writable(prediction.image_name)
        attributes = {"id": str(index), "name": name, "width": width, "height": height}
        image = ElementTree.SubElement(root, "image", attributes)
        for name, region in regions(prediction.labels, label_map):
            ElementTree.SubElement(image, "mask", _written_mask(name, region))
    ElementTree.indent(root)
    file = out / "annotations.xml"
    file.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
    return Written([file])


def _writable(name: str) -> str:
    """The name; InputError if XML cannot hold it."""
    if NOT_XML.search(name):
        raise InputError(f"expected names of characters that XML can hold, got {escaped(name)}: export it as coco")
    return name


def _written_mask(name: str, region: Region) -> dict[str, str]:
    left, top, right, bottom = bounds(region)
    runs = region_to_runs(region[top:bottom, left:right])
    size = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    text = {"label": name, "source": "auto", "occluded": "0", "rle": ", ".join(map(str, runs)), "z_order": "0"}
    return text | {key: str(value) for key, value in size.items()}


FORMAT = Format(
    name="cvat",
    title="CVAT for images or for video 1.1",
    needs="an annotations.xml with <annotations>",
    fits=_files,
    read=read,
    write=write,
    marks=("xml annotations", "file annotations.xml"),
)
