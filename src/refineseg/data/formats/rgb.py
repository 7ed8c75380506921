"""Colour masks, with the classes in labels.yaml, a CSV of name,r,g,b or labelmap.txt."""

from __future__ import annotations

from functools import partial

from refineseg.data.formats.format import Format
from refineseg.data.formats.parsing.mask_labels import guessed_kind, kind_of_pairs, read_pairs

EXAMPLE = "'classes: [{name: road, color: [128, 64, 128]}]', or a CSV with lines such as road,128,64,128"

FORMAT = Format(
    name="rgb",
    title="folders of pictures and masks of colours",
    needs="a folder images/ and a folder masks/ with masks of the same names, and a class_dict.csv",
    fits=lambda src: kind_of_pairs(src) == "rgb",
    likely=lambda src: guessed_kind(src) == "rgb",
    read=partial(read_pairs, example=EXAMPLE),
    threshold=True,
    marks=("folder images", "folder masks", "file class_dict.csv"),
)
