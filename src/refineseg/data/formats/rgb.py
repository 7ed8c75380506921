"""Colour masks, with the classes in labels.yaml, a CSV of name,r,g,b or labelmap.txt."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.formats.format import Format
from refineseg.data.formats.palette import RGB_MODES
from refineseg.data.formats.parsing.mask_labels import mask_mode, pairs_reader
from refineseg.data.formats.parsing.pairing import first_pair
from refineseg.data.pictures.tiff_samples import is_scientific

EXAMPLE = "'classes: [{name: road, color: [128, 64, 128]}]', or a CSV with lines such as road,128,64,128"


def fits(src: Path) -> bool:
    """Folders of pictures and of masks with three channels."""
    pair = first_pair(src)
    return pair is not None and not is_scientific(pair.image) and mask_mode(pair.mask) in RGB_MODES


FORMAT = Format(
    name="rgb",
    title="folders of pictures and masks of colours",
    needs="a folder images/ and a folder masks/ with masks of the same names, and a class_dict.csv",
    fits=fits,
    read=pairs_reader(EXAMPLE),
    threshold=True,
    marks=("folder images", "folder masks", "file class_dict.csv"),
)
