"""Index masks: palette or greyscale, also in the layouts of VOC and Cityscapes."""

from __future__ import annotations

from functools import partial

from refineseg.data.formats.format import Format
from refineseg.data.formats.parsing.mask_labels import guessed_kind, kind_of_pairs, read_pairs

EXAMPLE = "'classes: [background, road]' names the values 0, 1, ..., 'ignore: [255]' the ignored ones"

FORMAT = Format(
    name="palette",
    title="folders of pictures and masks of numbers",
    needs="a folder images/ and a folder masks/ with masks of the same names, and a labels.yaml",
    fits=lambda src: kind_of_pairs(src) == "palette",
    likely=lambda src: guessed_kind(src) == "palette",
    read=partial(read_pairs, example=EXAMPLE),
    threshold=True,
    marks=("folder images", "folder masks", "file labels.yaml"),
)
