"""Predicted labels as regions by class, for export."""

from __future__ import annotations

import numpy as np

from refineseg.data.formats.parsing.class_names import IGNORE_NAME, background_id
from refineseg.data.formats.parsing.shapes import Region
from refineseg.labels import IGNORE, LabelMap, UInt8


def regions(labels: UInt8, label_map: LabelMap) -> list[tuple[str, Region]]:
    """Name and pixels of every class in HxW train ids, except the background."""
    background = background_id(label_map)
    names = dict(enumerate(label_map.names)) | {IGNORE: IGNORE_NAME}
    return [(names[value], labels == value) for value in np.unique(labels).tolist() if value != background]
