"""Index masks: palette or greyscale, also in the layouts of VOC and Cityscapes."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.formats.format import Format
from refineseg.data.formats.parsing.mask_labels import mask_mode, pairs_reader
from refineseg.data.formats.parsing.pairing import first_pair
from refineseg.data.pictures.tiff_samples import is_scientific

EXAMPLE = "'classes: [background, road]' names the values 0, 1, ..., 'ignore: [255]' the ignored ones"
RGB_MODES = ("RGB", "RGBA")


def fits(src: Path) -> bool:
    """Folders of pictures and masks with one channel; unreadable masks are left to the reader."""
    pair = first_pair(src)
    return pair is not None and not is_scientific(pair.image) and mask_mode(pair.mask) not in RGB_MODES


FORMAT = Format(
    name="palette",
    title="folders of pictures and masks of numbers",
    needs="a folder images/ and a folder masks/ with masks of the same names, and a labels.yaml",
    fits=fits,
    read=pairs_reader(EXAMPLE),
    threshold=True,
    marks=("folder images", "folder masks", "file labels.yaml"),
)
