"""Masks as colour pictures: the class of a colour stands in labels.yaml, a CSV of name,r,g,b or labelmap.txt."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from refineseg.data.formats.base import Item, ReadOptions, Source
from refineseg.data.formats.classes import by_train_id
from refineseg.data.formats.pair_folders import by_color, labels_for, pairs_of
from refineseg.data.formats.pairs_list import paint
from refineseg.data.formats.palette import RGB_MODES, first_mask_mode


def fits(src: Path) -> bool:
    """Folders of pictures and of masks with three channels."""
    return first_mask_mode(src) in RGB_MODES


def read(src: Path, options: ReadOptions) -> Source:
    """All pairs; a colour without class is an error that names file, colour and number of pixels."""
    pairs = pairs_of(src)
    example = "'classes: [{name: road, color: [128, 64, 128]}]', or a CSV with lines such as road,128,64,128"
    labels = by_color(labels_for(pairs, src, options.labels, example))
    items = [Item(pair.image.stem, pair.image, partial(paint, pair.mask, labels), pair.split) for pair in pairs]
    return Source(by_train_id(labels), items)
