"""COCO panoptic: a JSON and a folder of PNGs whose colours are segment ids, R + 256 G + 65536 B."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from refineseg.data.formats.format import AnnotatedData, Format, Item, ReadOptions, Shape, Unannotated, not_empty
from refineseg.data.formats.parsing.class_names import ClassNames, class_names_of
from refineseg.data.formats.parsing.coco_files import (
    CocoFile,
    coco_files,
    crowd_notes,
    has_segments,
    is_crowd,
    ordered_categories,
)
from refineseg.data.formats.parsing.documents import Node
from refineseg.data.formats.parsing.find_pictures import Pictures, check_size, file_in
from refineseg.data.formats.parsing.label_files import find_labels
from refineseg.data.images import read_mask
from refineseg.errors import InputError
from refineseg.labels import IGNORE, UInt8
from refineseg.system.text import counted

UNLABELLED = 0  # segment id of pixels without annotation


def _files(src: Path) -> list[Path]:
    """A COCO JSON with ``segments_info``, or those of a folder."""
    return [file for file in coco_files(src) if has_segments(file)]


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """All panoptic files of ``src``; splits by the name of the file or its folder."""
    files = not_empty(_files(src), "a COCO panoptic json (with segments_info)", src)
    options = replace(options, labels=options.labels or find_labels(src if src.is_dir() else src.parent))
    documents = _PanopticFile.read_all(files, options.faults, src)
    names = class_names_of(ordered_categories(documents), options, str(src))
    pictures = Pictures(src, [place for file in files for place in _folders(file)], options.images)
    items: list[Item] = []
    unannotated: list[Unannotated] = []
    for document in documents:
        found, without = document.items(names, options, pictures)
        items += found
        unannotated += without
    masks = [path for document in documents for path in document.masks]
    named = {picture.image for picture in unannotated}
    unannotated += [picture for picture in pictures.unannotated(masks) if picture.image not in named]
    used: Counter[str] = sum((document.used for document in documents), Counter())
    notes, warnings = crowd_notes(documents, used, options.crowds)
    notes = [*names.notes, *notes, *pictures.notes()]
    return AnnotatedData(names.label_map, items, tuple(notes), tuple(warnings), unannotated)


def _folders(file: Path) -> list[Path]:
    split = file.stem.removeprefix("panoptic_")
    places = (file.parent, file.parent / "images", file.parent.parent, file.parent.parent / "images")
    return [*(place / split for place in places), *places]


@dataclass
class _PanopticFile(CocoFile):
    """One panoptic file, and its masks."""

    masks: list[Path] = field(default_factory=list)

    def items(
        self, names: ClassNames, options: ReadOptions, pictures: Pictures
    ) -> tuple[list[Item], list[Unannotated]]:
        """An item for each picture with a PNG, and the other pictures."""
        split, images = self.split, dict[Hashable, tuple[str, Path]]()
        with options.faults.collect():
            for node in self.root["images"]:
                with options.faults.collect():
                    name = node["file_name"]
                    images[node["id"].identifier()] = (name.text(), pictures.find(name.text(), name.place, split))
        items: list[Item] = []
        annotated: set[Hashable] = set()
        with options.faults.collect():
            for node in self.root["annotations"]:
                with options.faults.collect():
                    id_ = node["image_id"].identifier()
                    if id_ not in images:
                        raise node["image_id"].fail("the id of one of the images")
                    annotated.add(id_)
                    values = self._values(node, names, options)
                    places = [self.file.parent / self.file.stem, self.file.parent, self.file.parent / "panoptic"]
                    mask = file_in(places, node["file_name"].text(), node["file_name"].place)
                    self.masks.append(mask)
                    stem = str(Path(images[id_][0]).with_suffix(""))
                    items.append(Item(stem, images[id_][1], partial(_paint, mask, values, names.fill), split))
        without = [
            Unannotated(str(Path(name).with_suffix("")), path, split)
            for id_, (name, path) in images.items()
            if id_ not in annotated
        ]
        return items, without

    def _values(self, node: Node, names: ClassNames, options: ReadOptions) -> dict[int, int]:
        """Train id by segment id."""
        values: dict[int, int] = {}
        for segment in node["segments_info"]:
            name = self.categories[self.category(segment)]
            train_id = names.train_id(name, segment["category_id"].place)
            self.used[name] += 1
            if is_crowd(segment):
                self.crowds[name] += 1
                train_id = IGNORE if options.crowds == "ignore" else train_id
            values[segment["id"].integer()] = names.fill if train_id is None else train_id
        return values


def _paint(mask: Path, values: dict[int, int], fill: int, shape: Shape) -> UInt8:
    pixels = read_mask(mask)
    if pixels.ndim != 3:
        pixels = np.repeat(pixels[..., None], 3, axis=2) * np.array([1, 0, 0])
    check_size((pixels.shape[0], pixels.shape[1]), shape, str(mask))
    wide = pixels.astype(np.int64)
    ids = wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]
    labels = np.full(shape, fill, np.uint8)
    for id_ in np.unique(ids).tolist():
        if id_ in values:
            labels[ids == id_] = values[id_]
        elif id_ != UNLABELLED:
            count = int((ids == id_).sum())
            raise InputError(
                f"{mask}: expected the segments of segments_info, found {id_} ({counted(count, 'pixel')})"
            )
    return labels


FORMAT = Format(
    name="coco-panoptic",
    title="COCO panoptic json with its PNG files",
    needs="a json with segments_info and a folder of PNG files of the json's name",
    fits=_files,
    read=read,
    marks=("json key images", "json key annotations", "json key categories", "panoptic"),
)
