"""VOC-style masks: one number per pixel, as palette or greyscale pictures, in a folder beside the pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image

from refineseg.data.formats.base import Item, ReadOptions, Source
from refineseg.data.formats.classes import by_train_id
from refineseg.data.formats.pair_folders import folders_of, labels_for, pairs_of
from refineseg.data.formats.pairs_list import paint
from refineseg.data.source import folder_of_pictures
from refineseg.data.tiff import is_scientific

RGB_MODES = ("RGB", "RGBA")


def fits(src: Path) -> bool:
    """Folders of pictures and of masks with one channel."""
    return first_mask_mode(src) not in (None, *RGB_MODES)


def read(src: Path, options: ReadOptions) -> Source:
    """All pairs; the classes come from labels.yaml (or --labels)."""
    pairs = pairs_of(src)
    example = "'classes: [background, road]' names the values 0, 1, ..., 'ignore: [255]' those that do not count"
    labels = labels_for(pairs, src, options.labels, example)
    items = [Item(pair.image.stem, pair.image, partial(paint, pair.mask, labels), pair.split) for pair in pairs]
    return Source(by_train_id(labels), items)


def first_mask_mode(src: Path) -> str | None:
    """PIL's mode of the first mask, or None without such folders or where the pictures are scientific TIFFs."""
    folders = folders_of(src)
    if folders is None:
        return None
    images, masks = (_first(folder) for folder in folders)
    if images is None or masks is None or is_scientific(images):
        return None
    try:
        with Image.open(masks) as image:
            return image.mode
    except Exception:  # not for this reader to judge: any of the decoders' errors
        return None


def _first(folder: Path) -> Path | None:
    places = [folder, *(child for child in sorted(folder.iterdir()) if child.is_dir())]
    return next((path for place in places for path in folder_of_pictures(place)), None)
