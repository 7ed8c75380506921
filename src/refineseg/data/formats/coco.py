"""COCO JSON (Lin et al., 2014): instances as polygons or RLE, painted into one mask.

Overlapping instances are painted from large to small. Crowd regions (``iscrowd: 1``) lie below all instances. In
COCO they are unclear groups and ignored (255); CVAT and Datumaro write every brush mask as one, which
``crowds: class`` reads as its class.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from refineseg.data.formats.format import (
    AnnotatedData,
    Format,
    Prediction,
    ReadOptions,
    WriteOptions,
    Written,
    not_empty,
)
from refineseg.data.formats.parsing import coco_rle
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader, Skipped
from refineseg.data.formats.parsing.class_names import IGNORE_NAME, background_id, class_names_of, regions
from refineseg.data.formats.parsing.coco_files import (
    CocoFile,
    coco_files,
    crowd_notes,
    has_segments,
    is_crowd,
    ordered_categories,
)
from refineseg.data.formats.parsing.documents import Node
from refineseg.data.formats.parsing.find_pictures import split_in_name
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.text import counted

PLACEHOLDER = "none"  # supercategory of Roboflow's category 0, which groups the others


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """All COCO files of ``src``, classes merged by name; splits by the name of the file or its folder."""
    files = not_empty(_files(src), "a COCO json (with images, annotations and categories)", src)
    places = [place for file in files for place in (file.parent, file.parent.parent)]
    found = AreaReader(src, options, [folder for place in places for folder in (place, place / "images")])
    documents = _InstancesFile.read_all(files, options.faults, src)
    for document in documents:
        with options.faults.collect():
            document.add_to(found)
    placeholders = {name for document in documents for name in document.placeholders()} - set(found.used)
    notes = []
    if placeholders:
        notes.append(f"categories that only group others were left out: {', '.join(sorted(placeholders))}")
    ordered = [name for name in ordered_categories(documents) if name not in placeholders]
    if found.options.labels is not None:  # unknown categories are faults even if unused
        names = class_names_of(ordered, found.options, str(src))
        for document in documents:
            for id_, name in document.categories.items():
                with options.faults.collect():
                    if name in ordered:
                        names.train_id(name, document.places[id_])
    said, warnings = crowd_notes(documents, found.used, options.crowds)
    return found.source(ordered, [*notes, *said], warnings)


def _files(src: Path) -> list[Path]:
    """A COCO JSON, or those of a folder (next to the pictures, in annotations/, or in each split's folder)."""
    return [file for file in coco_files(src) if not has_segments(file)]


class _InstancesFile(CocoFile):
    """One file of instances."""

    def placeholders(self) -> set[str]:
        """Names of categories that only group others."""
        pairs = [(node["name"].value, node.value.get("supercategory")) for node in self.root["categories"]]
        groups = [group for _, group in pairs]
        return {name for name, group in pairs if group == PLACEHOLDER and name in groups}

    def add_to(self, found: AreaReader) -> None:
        """Add the pictures with their areas.

        Raises InputError where no annotation has an outline.
        """
        faults = found.options.faults
        by_image: dict[Hashable, list[Node]] = {}
        with faults.collect():
            for node in self.root["images"]:
                if isinstance(node.value, dict) and isinstance(node.value.get("id"), int | str | float):
                    by_image[node["id"].identifier()] = []
        total, before = 0, found.used.total()
        with faults.collect():
            for node in self.root["annotations"]:
                total += 1
                with faults.collect():
                    image = node["image_id"].identifier()
                    if image not in by_image:
                        raise node["image_id"].fail("the id of one of the images")
                    by_image[image].append(node)
        areas = {id_: found.areas(nodes, partial(self._area, found.options)) for id_, nodes in by_image.items()}
        if total and found.used.total() == before and not len(faults):
            raise InputError(
                f"{self.root.place}: expected outlines in 'segmentation', got bounding boxes or key "
                f"points only in {counted(total, 'annotation')}; export the data set with segmentation"
            )
        with faults.collect():
            for node in self.root["images"]:
                with faults.collect():
                    id_ = node["id"].identifier()
                    if id_ not in areas:
                        raise node["id"].fail("an id that no other picture has")
                    found.annotated.append(self._annotated(node, areas.pop(id_), found))

    def _area(self, options: ReadOptions, node: Node) -> Area | Skipped:
        id_ = self.category(node)
        name = self.categories[id_]
        outline = node.get("segmentation")
        if outline is None or outline.empty():
            return Skipped("annotation", "without an outline", name)
        crowd = is_crowd(node)
        self.crowds[name] += crowd
        region = partial(coco_rle.decode_segmentation, outline)
        return Area(name, self.places[id_], region, below=crowd, ignored=crowd and options.crowds == "ignore")

    def _annotated(self, image: Node, areas: list[Area], found: AreaReader) -> Annotated:
        name, size = image["file_name"], image.size("height", "width")
        path = found.pictures.find(name.text(), name.place, self.split, self._split_folders)
        stem = str(Path(name.text()).with_suffix(""))
        return Annotated(stem, path, areas, self.split, size, image.place, largest_first=True)

    @property
    def _split_folders(self) -> list[Path]:
        """Folders named after the split: images/train for annotations/instances_train.json."""
        above = self.file.parent.parent
        places = (self.file.parent / "images", above / "images", self.file.parent, above)
        exact = self.file.stem.removeprefix("instances_")
        found = [place / exact for place in places if (place / exact).is_dir()]
        if self.split is None:
            return found
        return found + [
            folder
            for place in places
            if place.is_dir()
            for folder in sorted(place.iterdir())
            if folder.is_dir() and split_in_name(folder.name) == self.split
        ]


def write(predictions: Iterator[Prediction], label_map: LabelMap, out: Path, _: WriteOptions) -> Written:
    """annotations.json with one compressed RLE per class and picture; ids start at 1."""
    background = background_id(label_map)
    names = [name for index, name in enumerate(label_map.names) if index != background] + [IGNORE_NAME]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for prediction in predictions:
        height, width = prediction.labels.shape
        images.append(
            {"id": len(images) + 1, "file_name": prediction.image_name, "height": height, "width": width}
        )
        for name, region in regions(prediction.labels, label_map):
            rle, box = coco_rle.encode_rle(region)
            annotation: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": names.index(name) + 1,
            }
            annotation |= {"segmentation": rle, "area": int(region.sum()), "bbox": box, "iscrowd": 0}
            annotations.append(annotation)
    categories = [{"id": index, "name": name} for index, name in enumerate(names, 1)]
    file = out / "annotations.json"
    document = {"images": images, "categories": categories, "annotations": annotations}
    file.write_text(json.dumps(document), encoding="utf-8")
    return Written([file])


FORMAT = Format(
    name="coco",
    title="COCO json",
    needs="a json with the lists images, annotations (with segmentation) and categories",
    fits=_files,
    read=read,
    write=write,
    marks=("json key images", "json key annotations", "json key categories", "folder annotations"),
)
