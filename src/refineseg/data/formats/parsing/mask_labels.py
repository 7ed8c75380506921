"""Train ids of index and colour masks, by the labels of a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from refineseg.data.formats.format import AnnotatedData, Item, ReadOptions, Shape
from refineseg.data.formats.parsing.class_names import by_train_id, edit_labels
from refineseg.data.formats.parsing.label_files import labels_file, read_labels, read_threshold
from refineseg.data.formats.parsing.layouts import Layout, find_layouts, guess_layouts
from refineseg.data.formats.parsing.pairing import Pair, Pairs, first_pair, pairs_of
from refineseg.data.images import read_binary_mask, read_mask
from refineseg.data.mask_arrays import is_array
from refineseg.data.pictures.pillow import decoding, open_image
from refineseg.data.pictures.tiff_samples import is_scientific
from refineseg.errors import InputError, LabelError
from refineseg.labels import LabelMap, UInt8
from refineseg.raw_values import number_to_color, pack_colors

SHADES = 100  # grey values that tell a black and white mask with soft edges from class numbers
SAMPLES = 20  # masks read to list the values in an error
Painter = Callable[[Path, LabelMap, Shape], UInt8]


def paint(mask: Path, labels: LabelMap, _: Shape) -> UInt8:
    """Train ids of a mask file of class numbers or colours (of its pixels or its palette)."""
    raw = read_mask(mask)
    if raw.ndim == 2 and labels.rgb:
        raw = palette_colors(mask)
    try:
        return (by_color(labels) if raw.ndim == 3 else labels).encode(raw, str(mask))
    except LabelError as error:
        if len(labels.classes) != 2:
            raise
        raise LabelError(
            f"for black and white masks with grey edges, such as JPEG files, give --threshold 128; {error}"
        ) from error


def read_pairs(src: Path, options: ReadOptions, example: str, painter: Painter = paint) -> AnnotatedData:
    """The paired pictures and masks of a folder; otherwise as ``data_of_pairs``."""
    return data_of_pairs(pairs_of(src, options.faults), src, options, example, painter)


def data_of_pairs(
    found: Pairs, src: Path, options: ReadOptions, example: str, painter: Painter = paint
) -> AnnotatedData:
    """The pairs of a source, with the labels given or found there.

    Raises InputError, with the values found and an example, if there is no labels file; and for a threshold
    without exactly two classes.
    """
    labels, threshold = options.labels, options.threshold
    above = [folder for pair in found.pairs[:1] for folder in pair.mask.parents if folder.is_relative_to(src)]
    for place in [src, *above] if labels is None else ():
        file = labels_file(place)
        if file is not None:
            labels = read_labels(file)
            threshold = read_threshold(file) if threshold is None else threshold
            break
    if labels is None:
        place = found.pairs[0].mask.parent if found.pairs else src
        raise InputError(
            f"expected class names for the masks in {place} ({values_in(found.pairs)}); write a labels.yaml in "
            f"{src}, or give one with --labels: {example}"
        )
    if threshold is not None:
        if len(labels.classes) != 2:
            raise InputError(
                "expected two classes with a threshold (below it the first, from it on the second), got "
                f"{len(labels.classes)}: {', '.join(labels.names)[:120]}"
            )
        labels, painter = LabelMap(by_train_id(labels).classes, ()), partial(_paint_binary, threshold)
    labels = edit_labels(labels, options.edits)
    items = [Item(pair.name, pair.image, partial(painter, pair.mask, labels), pair.split) for pair in found.pairs]
    return AnnotatedData(by_train_id(labels), items, tuple(found.notes), unannotated=found.unannotated)


def _paint_binary(threshold: int, mask: Path, labels: LabelMap, _: Shape) -> UInt8:
    return labels.encode(read_binary_mask(mask, threshold), str(mask))


def values_in(pairs: Sequence[Pair]) -> str:
    """The values of the first masks, for an error."""
    found: set[Any] = set()
    for pair in pairs[:SAMPLES]:
        mask = read_mask(pair.mask)
        values = np.unique(pack_colors(mask) if mask.ndim == 3 else mask).tolist()
        found.update(map(number_to_color, values) if mask.ndim == 3 else values)
    in_order = sorted(found, key=lambda value: (isinstance(value, tuple), value))  # numbers before colours
    shown = ", ".join(str(value) for value in in_order[:12]) + (" ..." if len(found) > 12 else "")
    grey = {value for value in found if isinstance(value, int)}
    binary = {0, 255} <= grey and len(grey) in (2, *range(SHADES, 257))
    return f"the first masks contain {shown}" + ": black and white, add --threshold 128" * binary


@lru_cache(maxsize=4)  # its table of colours is made once
def by_color(labels: LabelMap) -> LabelMap:
    """The label map with the colours of its classes as raw values."""
    if labels.rgb:
        return labels
    values = labels.to_dict()
    for entry in values["classes"]:
        entry["raw"] = [entry["color"]]
    return LabelMap.from_dict(values | {"ignore": []})


def palette_colors(path: Path) -> UInt8:
    """A palette mask as HxWx3 colours; InputError if it has no palette."""
    if not is_array(path):
        with decoding(str(path), "a mask"), open_image(path) as image:
            if image.mode == "P":
                return np.asarray(image.convert("RGB"))
    raise InputError(
        f"{path}: expected colours, as in the labels file, got numbers; give the numbers as 'raw' there"
    )


def guessed_kind(src: Path) -> str | None:
    """As ``kind_of_pairs``, for folders of other names."""
    return kind_of_pairs(src, guess_layouts)


def kind_of_pairs(src: Path, find: Callable[[Path], list[Layout]] = find_layouts) -> str | None:
    """The format of a folder of pairs by the first: ``tiff`` for a scientific TIFF, else ``rgb`` or ``palette``.

    None without a pair; an unreadable mask is left to the reader of ``palette``.
    """
    pair = first_pair(src, find)
    if pair is None:
        return None
    if is_scientific(pair.image):
        return "tiff"
    try:
        with open_image(pair.mask, decode=False) as image:
            return "rgb" if image.mode in ("RGB", "RGBA") else "palette"
    except Exception:  # any of the decoders' errors
        return "palette"
