"""Masks of numbers: palette or greyscale pictures beside the pictures, also as VOC and Cityscapes have them."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.formats.base import Format, ReadOptions, Source
from refineseg.data.formats.parsing.masks import mask_mode, source_of
from refineseg.data.formats.parsing.pairs import first_pair, pairs_of
from refineseg.data.tiff import is_scientific

RGB_MODES = ("RGB", "RGBA")


def fits(src: Path) -> bool:
    """Folders of pictures and of masks with one channel, or of none that can be read, as the reader will say."""
    pair = first_pair(src)
    return pair is not None and not is_scientific(pair.image) and mask_mode(pair.mask) not in RGB_MODES


def read(src: Path, options: ReadOptions) -> Source:
    """All pairs; the classes come from labels.yaml (or --labels)."""
    found = pairs_of(src, options.faults)
    example = "'classes: [background, road]' names the values 0, 1, ..., 'ignore: [255]' those that do not count"
    return source_of(found, src, options, example)


FORMAT = Format(
    name="palette",
    title="folders of pictures and masks of numbers",
    needs="a folder images/ and a folder masks/ with masks of the same names, and a labels.yaml",
    fits=fits,
    read=read,
    threshold=True,
    marks=("folder images", "folder masks", "file labels.yaml"),
)
