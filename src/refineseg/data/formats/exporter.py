"""Predictions as pre-labels for LabelMe, CVAT and COCO tools, without loss: what is read back is the same mask.

Pixels of a class called background are left without annotation; ignored pixels become regions named
``__ignore__``. Every other class of a picture becomes one mask. labels.yaml is written beside, so that
``refineseg data import`` gives the same train ids.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from refineseg.config.yaml import to_yaml
from refineseg.data.formats import coco_rle
from refineseg.data.formats.base import check_size, picture_shape
from refineseg.data.formats.classes import IGNORE_NAME, background_id, by_train_id
from refineseg.data.formats.nodes import read_json
from refineseg.data.formats.shapes import Region, bounds, region_to_runs
from refineseg.data.formats.staging import check_new, staged
from refineseg.data.images import read_mask
from refineseg.data.source import folder_of_pictures
from refineseg.data.tiff import read_tiff
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelMap, UInt8


@dataclass(frozen=True)
class Prediction:
    """One predicted mask and the picture it belongs to.

    Attributes:
        stem: of the mask's file.
        mask: file with train ids.
        image: the picture's file, or None where it is not known.
        out: folder that the annotations are for.
    """

    stem: str
    mask: Path
    image: Path | None
    out: Path

    @property
    def image_name(self) -> str:
        """The picture's file name; a guess where it is not known."""
        return self.image.name if self.image else f"{self.stem}.jpg"

    @property
    def image_path(self) -> str:
        """The way from the annotations to the picture."""
        if self.image is None:
            return self.image_name
        return Path(os.path.relpath(self.image.resolve(), self.out.resolve())).as_posix()


MASKS = (".png", ".tif", ".tiff")  # what predict writes
Masks = Iterator[tuple[Prediction, UInt8]]


def export_predictions(
    predictions: str | Path,
    label_map: LabelMap,
    format: str,
    out: str | Path,
    *,
    images: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write predictions as annotations that a person can correct in a tool.

    Args:
        predictions: what ``refineseg predict`` wrote, or its folder masks/.
        label_map: names of the train ids.
        format: ``labelme``, ``cvat`` or ``coco``.
        out: new folder; gets STEM.json for every picture, annotations.xml or annotations.json, and labels.yaml.
        images: folder with the pictures, for their names (LabelMe also needs their place); without it
            predictions.json is asked.
        progress: called with masks done and in all.

    Returns:
        The annotation files.

    Raises:
        InputError: no masks, values outside the label map, or a picture missing or of another size.
    """
    if format not in WRITERS:
        raise InputError(f"expected a format of {', '.join(WRITERS)} to export to, got {format!r}")
    final = Path(out).expanduser()
    check_new(final)
    found = list_predictions(Path(predictions).expanduser(), Path(images).expanduser() if images else None, final)
    by_id = by_train_id(label_map)
    if IGNORE_NAME in by_id.names:
        raise InputError(
            f"expected class names other than {IGNORE_NAME}, which stands for ignored pixels; rename it"
        )
    with staged(final) as folder:
        files = WRITERS[format](_masks(found, by_id, progress), by_id, folder)
        (folder / "labels.yaml").write_text(to_yaml(by_id.to_dict()), encoding="utf-8")
    return [final / file.name for file in files]


def list_predictions(folder: Path, images: Path | None, out: Path) -> list[Prediction]:
    """The masks of a prediction folder, each with its picture, as seen from ``out``.

    Raises InputError if there are no masks, or a picture is not in ``images``.
    """
    masks = folder / "masks" if (folder / "masks").is_dir() else folder
    found = [path for path in folder_of_pictures(masks) if path.suffix.lower() in MASKS]
    twice = [name for name, count in Counter(path.stem for path in found).items() if count > 1]
    if twice:
        raise InputError(f"expected one mask of each name in {masks}, found several called {twice[0]}")
    if not found:
        raise InputError(f"expected masks that refineseg predict wrote in {masks}, found none")
    pictures = _recorded(folder)
    if images is not None:
        pictures |= {path.stem: path for path in folder_of_pictures(images)}
        missing = [path.stem for path in found if path.stem not in pictures]
        if missing:
            raise InputError(
                f"expected the picture of every mask in {images}, {len(missing)} are missing: {missing[0]}"
            )
    return [Prediction(path.stem, path, pictures.get(path.stem), out) for path in found]


def _recorded(folder: Path) -> dict[str, Path]:
    """Pictures by the stem of their mask, as predictions.json beside masks/ says; those that are still there."""
    record = folder / "predictions.json"
    if not record.is_file():
        return {}
    done = [entry for entry in read_json(record)["predictions"] if entry.get("files") is not None]
    masks = [(entry, mask) for entry in done if (mask := entry["files"].get("mask")) is not None]
    found = {Path(mask.text()).stem: Path(entry["input"].text()) for entry, mask in masks}
    return {stem: path for stem, path in found.items() if path.is_file()}


def regions(labels: UInt8, label_map: LabelMap) -> list[tuple[str, Region]]:
    """Name and pixels of every class in HxW train ids, the background left out."""
    background = background_id(label_map)
    names = dict(enumerate(label_map.names)) | {IGNORE: IGNORE_NAME}
    return [(names[value], labels == value) for value in np.unique(labels).tolist() if value != background]


def _masks(found: Sequence[Prediction], by_id: LabelMap, progress: Callable[[int, int], None] | None) -> Masks:
    known = LabelMap(by_id.classes, (IGNORE,))
    for done, prediction in enumerate(found, 1):
        tiff = prediction.mask.suffix.lower() != ".png"  # of --tile and channels; Pillow refuses large ones
        raw = read_tiff(prediction.mask)[..., 0] if tiff else read_mask(prediction.mask)
        labels = known.encode(raw, str(prediction.mask))
        if prediction.image is not None:
            shape = (labels.shape[0], labels.shape[1])
            check_size(shape, picture_shape(prediction.image), str(prediction.mask))
        yield prediction, labels
        if progress is not None:
            progress(done, len(found))


def write_labelme(masks: Masks, label_map: LabelMap, out: Path) -> list[Path]:
    """STEM.json with shapes of type ``mask``: a base64 PNG that fills its box."""
    files = []
    for prediction, labels in masks:
        document = {
            "version": "5.5.0",
            "flags": {},
            "shapes": [_labelme_shape(name, region) for name, region in regions(labels, label_map)],
            "imagePath": prediction.image_path,
            "imageData": None,
            "imageHeight": labels.shape[0],
            "imageWidth": labels.shape[1],
        }
        files.append(out / f"{prediction.stem}.json")
        files[-1].write_text(json.dumps(document, indent=1), encoding="utf-8")
    return files


def write_cvat(masks: Masks, label_map: LabelMap, out: Path) -> list[Path]:
    """annotations.xml, CVAT for images 1.1, with a <mask> of run lengths for every class of a picture."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels_node = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels"
    )
    for item in label_map.classes:
        node = ElementTree.SubElement(labels_node, "label")
        ElementTree.SubElement(node, "name").text = item.name
        ElementTree.SubElement(node, "color").text = "#{:02x}{:02x}{:02x}".format(*item.color)
    for index, (prediction, labels) in enumerate(masks):
        height, width = (str(side) for side in labels.shape)
        attributes = {"id": str(index), "name": prediction.image_name, "width": width, "height": height}
        image = ElementTree.SubElement(root, "image", attributes)
        for name, region in regions(labels, label_map):
            ElementTree.SubElement(image, "mask", _cvat_mask(name, region))
    ElementTree.indent(root)
    file = out / "annotations.xml"
    file.write_bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))
    return [file]


def write_coco(masks: Masks, label_map: LabelMap, out: Path) -> list[Path]:
    """annotations.json with one compressed RLE for every class of a picture; ids count from 1."""
    background = background_id(label_map)
    names = [name for index, name in enumerate(label_map.names) if index != background] + [IGNORE_NAME]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for prediction, labels in masks:
        height, width = labels.shape
        images.append(
            {"id": len(images) + 1, "file_name": prediction.image_name, "height": height, "width": width}
        )
        for name, region in regions(labels, label_map):
            rle, box = coco_rle.encode(region)
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
    return [file]


def _labelme_shape(name: str, region: Region) -> dict[str, Any]:
    left, top, right, bottom = bounds(region)
    stream = io.BytesIO()
    Image.fromarray(region[top:bottom, left:right].astype(np.uint8) * 255).save(stream, format="PNG")
    return {
        "label": name,
        "points": [[left, top], [right - 1, bottom - 1]],
        "group_id": None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(stream.getvalue()).decode("ascii"),
    }


def _cvat_mask(name: str, region: Region) -> dict[str, str]:
    left, top, right, bottom = bounds(region)
    runs = region_to_runs(region[top:bottom, left:right])
    box = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    text = {"label": name, "source": "auto", "occluded": "0", "rle": ", ".join(map(str, runs)), "z_order": "0"}
    return text | {key: str(value) for key, value in box.items()}


WRITERS: dict[str, Callable[[Masks, LabelMap, Path], list[Path]]] = {
    "labelme": write_labelme,
    "cvat": write_cvat,
    "coco": write_coco,
}
