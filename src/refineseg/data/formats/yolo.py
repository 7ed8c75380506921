"""YOLO segmentation (ultralytics): a text file per picture, with lines of a class number and normalised x, y.

Instances are painted from large to small, so that small ones stay on top. Lines of five numbers are boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from refineseg.config.yaml import read_yaml, to_yaml
from refineseg.data.formats.format import (
    AnnotatedData,
    Format,
    Prediction,
    ReadOptions,
    Unannotated,
    WriteOptions,
    Written,
)
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.class_names import IGNORE_NAME, background_id, regions
from refineseg.data.formats.parsing.documents import Node
from refineseg.data.formats.parsing.find_pictures import SPLIT_WORDS, file_in, named, unread_note, walk_pictures
from refineseg.data.formats.parsing.shapes import Outliner, polygon
from refineseg.data.formats.parsing.tables import TableRow, read_rows
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.text import counted

DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASS_LISTS = ("classes.txt", "obj.names")
BOX_CELLS = 5  # class, centre and size
BOXES = "with a box, without an outline"


def fits(src: Path) -> bool:
    """A data.yaml with names, its folder, or a folder with images/, labels/ of text files and classes.txt."""
    if _description(src) is not None:
        return True
    return src.is_dir() and _class_list(src) is not None and any((src / "labels").rglob("*.txt"))


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The pictures of the splits in data.yaml with their text files; classes by number."""
    file, root = _description(src), src if src.is_dir() else src.parent
    listed = _class_list(root)
    if file is not None:
        values = Node(read_yaml(file), f"{file}: data")
        classes, splits = _class_names(values["names"]), partial(_splits, values, file)
    elif listed is not None:
        classes, splits = dict(enumerate(row.text for row in read_rows(listed))), partial(_split_folders, root)
    else:
        raise InputError(f"expected a data.yaml with names, or classes.txt, in {src}, found none")
    found = AreaReader(src, options)
    unannotated: dict[Path, Unannotated] = {}
    seen, twice = set[Path](), set[Path]()
    for split, images in ({None: walk_pictures(options.images)} if options.images else splits()).items():
        for image in images:
            (twice if image in seen else seen).add(image)
            if image in twice:
                continue
            name = str((image.relative_to(root) if image.is_relative_to(root) else image).with_suffix(""))
            labels = _labels_file(image, root)
            if labels is None:
                unannotated[image] = Unannotated(name, image, split)
                continue
            with options.faults.collect():
                areas = found.areas(read_rows(labels, blanks=True), partial(_area, labels, classes))
                found.annotated.append(Annotated(name, image, areas, split, largest_first=True))
    _check_found(file or root, found, list(unannotated))
    notes = []
    if twice:
        notes.append(f"used {counted(twice, 'picture')} of several splits only once: {named(sorted(twice))}")
    notes += unread_note({picture.image.parent for picture in found.annotated if isinstance(picture.image, Path)})
    return found.source(
        [classes[number] for number in sorted(classes)], notes, unannotated=list(unannotated.values())
    )


def _check_found(place: Path, found: AreaReader, unannotated: list[Path]) -> None:
    boxes = sum(count for skipped, count in found.left_out.items() if skipped.reason == BOXES)
    if not found.annotated and not len(found.options.faults):
        where = f", such as labels/.../{unannotated[0].stem}.txt" if unannotated else ""
        raise InputError(
            f"{place}: expected a text file for each of {counted(unannotated, 'picture')}{where}, found none"
        )
    if not found.used and boxes:
        raise InputError(
            f"{place}: expected outlines, got {counted(boxes, 'box')} only; export as YOLO segmentation"
        )


def _description(src: Path) -> Path | None:
    candidates = [src] if src.is_file() else [src / name for name in DESCRIPTIONS]
    for path in candidates:
        if path.suffix.lower() in (".yaml", ".yml") and path.is_file():
            with suppress(InputError):
                if "names" in read_yaml(path):
                    return path
    return None


def _class_list(root: Path) -> Path | None:
    places = [root / name for name in CLASS_LISTS] + [root / "labels" / name for name in CLASS_LISTS]
    return next((path for path in places if path.is_file()), None)


def _class_names(node: Node) -> dict[int, str]:
    if isinstance(node.value, list):
        return {index: _name(name) for index, name in enumerate(node)}
    found: dict[int, str] = {}
    if isinstance(node.value, dict):
        for key, value in node.value.items():
            if isinstance(key, bool) or not str(key).isdecimal():
                raise node.fail("class names by number")
            found[int(key)] = _name(Node(value, f"{node.place}.{key}"))
    if not found:
        raise node.fail("class names, as a list or by number")
    return found


def _name(node: Node) -> str:
    """A class name; YAML reads 1 and 1.5 as numbers."""
    return str(node.value) if isinstance(node.value, int | float) else node.text()


def _splits(values: Node, file: Path) -> dict[str | None, list[Path]]:
    found: dict[str | None, list[Path]] = {}
    for key, split in SPLIT_WORDS.items():
        given = values.value.get(key)
        entries = [entry for entry in (given if isinstance(given, list) else [given]) if entry]
        for entry in entries:
            pictures = _pictures_of(str(entry), values.value.get("path"), file)
            if pictures is None and split == "test":
                continue  # some exports name a test split that they lack
            if pictures is None:
                raise InputError(f"{file}: {key}: expected a folder or list of pictures, found none at {entry!r}")
            found.setdefault(split, []).extend(pictures)
    return found or _split_folders(file.parent)


def _pictures_of(entry: str, base: object, file: Path) -> list[Path] | None:
    """The pictures of a folder or list relative to ``path`` or to data.yaml, with or without ``..``."""
    here = file.parent
    relative = entry.replace("\\", "/")
    inner = relative.lstrip("./")  # Roboflow writes ../train/images for train/images
    places = [here / str(base or ".") / relative, here / relative, here / inner, here / str(base or ".") / inner]
    for place in places:
        if place.is_dir():
            return walk_pictures(place)
        if place.is_file() and place.suffix == ".txt":
            return [file_in([here, place.parent], row.text, str(place)) for row in read_rows(place)]
    return None


def _split_folders(root: Path) -> dict[str | None, list[Path]]:
    """Pictures by the split that one of their folders names: images/train or train/images."""
    found: dict[str | None, list[Path]] = {}
    for path in walk_pictures(root):
        parts = path.relative_to(root).parts[:-1]
        split = next((SPLIT_WORDS[part.lower()] for part in parts if part.lower() in SPLIT_WORDS), None)
        found.setdefault(split, []).append(path)
    return found


def _labels_file(image: Path, root: Path) -> Path | None:
    """labels/.../STEM.txt for images/.../STEM.jpg (the last folder called images), or the text file beside."""
    parts = list(image.parts)
    places = [image.with_suffix(".txt")]
    for index in reversed(range(len(parts) - 1)):
        if parts[index].lower() == "images":
            places.insert(0, Path(*parts[:index], "labels", *parts[index + 1 : -1], f"{image.stem}.txt"))
            break
    places.append(root / "labels" / f"{image.stem}.txt")
    return next((place for place in places if place.is_file() and place.name not in CLASS_LISTS), None)


def _area(file: Path, classes: Mapping[int, str], row: TableRow) -> Area | Skipped:
    place = f"{file}: line {row.number}"
    label = _class(row, classes, place)
    if len(row.cells) in (1, BOX_CELLS):
        return Skipped("line", BOXES if len(row.cells) == BOX_CELLS else "with a class number only", label)
    points = _points(row, place)
    return Area(label, place, lambda shape: polygon([(x * shape[1], y * shape[0]) for x, y in points], shape))


def _class(row: TableRow, classes: Mapping[int, str], place: str) -> str:
    try:
        number = float(row.cells[0])
        return classes[int(number)] if number == int(number) else classes[-1]
    except (ValueError, KeyError, OverflowError) as error:
        known = f"{min(classes)} to {max(classes)}"
        raise InputError(f"{place}: expected a class number of {known}, got {row.cells[0][:40]!r}") from error


def _points(row: TableRow, place: str) -> list[tuple[float, float]]:
    try:
        values = [float(cell) for cell in row.cells[1:]]
    except ValueError as error:
        raise InputError(f"{place}: expected numbers after the class, got {row.text[:60]!r}") from error
    if len(values) % 2 or len(values) < 6:
        raise InputError(f"{place}: expected x and y of at least 3 points, got {counted(values, 'number')}")
    outside = [value for value in values if not -1 <= value <= 2]
    if outside:
        raise InputError(f"{place}: expected shares of the picture's width and height 0..1, got {outside[0]}")
    return list(zip(values[::2], values[1::2], strict=True))


def write(predictions: Iterator[Prediction], label_map: LabelMap, out: Path, options: WriteOptions) -> Written:
    """labels/STEM.txt with a line per connected component, and data.yaml with the names.

    The background has no number, and the format cannot express ignored pixels.
    """
    background = background_id(label_map)
    names = [name for index, name in enumerate(label_map.names) if index != background]
    outliner = Outliner(options.tolerance, options.smallest)
    (out / "labels").mkdir()
    files, ignored = [], 0
    for prediction in predictions:
        height, width = prediction.labels.shape
        lines = []
        for name, region in regions(prediction.labels, label_map):
            if name == IGNORE_NAME:
                ignored += int(region.sum())
                continue
            for ring in outliner.rings(region):
                numbers = " ".join(f"{x / width:.6f} {y / height:.6f}" for x, y in ring)
                lines.append(f"{names.index(name)} {numbers}\n")
        files.append(out / "labels" / f"{prediction.stem}.txt")
        files[-1].write_text("".join(lines), encoding="utf-8")
    description = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(names))}
    (out / "data.yaml").write_text(to_yaml(description), encoding="utf-8")
    notes = outliner.notes()
    if ignored:
        note = f"{counted(ignored, 'ignored pixel')} without a class in this format: written as background"
        notes = (note, *notes)
    return Written(files, notes)


FORMAT = Format(
    name="yolo",
    title="YOLO segmentation with data.yaml",
    needs="a data.yaml with names (or classes.txt), and labels/ with a text file for each picture",
    fits=fits,
    read=read,
    write=write,
    marks=("file data.yaml", "folder labels", "suffix .txt"),
)
