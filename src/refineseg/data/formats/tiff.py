"""GeoTIFF and scientific TIFF: more than three channels, or more than 8 bits, with masks of numbers beside them.

The files are copied as they are. What a network needs to read them, the range, mean and standard deviation of each
channel, goes to labels.yaml under ``statistics`` (see channels.Channels); so it does where other formats annotate
TIFF.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from refineseg.data.formats.base import Item, ReadOptions, Shape, Source
from refineseg.data.formats.classes import by_train_id
from refineseg.data.formats.pair_folders import Pair, folders_of, labels_for, pairs_of
from refineseg.data.images import read_mask
from refineseg.data.tiff import SUFFIXES, is_scientific, read_tiff
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8


def fits(src: Path) -> bool:
    """Folders of pictures and of masks, where the first picture is a TIFF that plain readers would cut down."""
    folders = folders_of(src)
    if folders is None:
        return False
    first = next((path for path in sorted(folders[0].rglob("*")) if path.suffix.lower() in SUFFIXES), None)
    return first is not None and is_scientific(first)


def read(src: Path, options: ReadOptions) -> Source:
    """All pairs."""
    pairs = pairs_of(src)
    labels = labels_for(pairs, src, options.labels, "'classes: [water, field]' and 'ignore: [255]'")
    items = [Item(pair.image.stem, pair.image, partial(_paint, pair, labels), pair.split) for pair in pairs]
    return Source(by_train_id(labels), items)


def _paint(pair: Pair, labels: LabelMap, _: Shape) -> UInt8:
    if pair.mask.suffix.lower() not in SUFFIXES:
        return labels.encode(read_mask(pair.mask), str(pair.mask))
    mask = read_tiff(pair.mask)  # compressions that PIL does not know
    if (
        mask.shape[-1] != 1
        or mask.dtype.kind not in "uib"
        or mask.min(initial=0) < 0
        or mask.max(initial=0) > 65535
    ):
        raise InputError(
            f"{pair.mask}: expected a mask of one channel with whole numbers in 0..65535, "
            f"got {mask.shape[-1]} of {mask.dtype}"
        )
    return labels.encode(mask[..., 0], str(pair.mask))
