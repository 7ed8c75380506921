"""GeoTIFF and scientific TIFF, with more than three channels or 8 bits, and index masks.

Files are copied unchanged. Range, mean and standard deviation of each channel go to labels.yaml as ``statistics``
(see channels.Channels), as for TIFF in any other format.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from refineseg.data.formats.format import Format, Shape
from refineseg.data.formats.parsing.mask_labels import guessed_kind, kind_of_pairs, read_pairs
from refineseg.data.images import read_mask
from refineseg.data.pictures.tiff_samples import SUFFIXES, read_tiff
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8


def _paint(path: Path, labels: LabelMap, _: Shape) -> UInt8:
    if path.suffix.lower() not in SUFFIXES:
        return labels.encode(read_mask(path), str(path))
    mask = read_tiff(path)  # compressions that PIL does not know
    if (
        mask.shape[-1] != 1
        or mask.dtype.kind not in "uib"
        or mask.min(initial=0) < 0
        or mask.max(initial=0) > 65535
    ):
        raise InputError(
            f"{path}: expected a mask of one channel with whole numbers in 0..65535, "
            f"got {mask.shape[-1]} of {mask.dtype}"
        )
    return labels.encode(mask[..., 0], str(path))


FORMAT = Format(
    name="tiff",
    title="folders of TIFF with many channels or bits, and masks",
    needs="a folder images/ of TIFF files and a folder masks/ with masks of the same names, and a labels.yaml",
    fits=lambda src: kind_of_pairs(src) == "tiff",
    likely=lambda src: guessed_kind(src) == "tiff",
    read=partial(read_pairs, example="'classes: [water, field]' and 'ignore: [255]'", painter=_paint),
    threshold=True,
    marks=("folder images", "folder masks", "suffix .tif"),
)
