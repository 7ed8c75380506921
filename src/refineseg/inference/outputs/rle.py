"""COCO's compressed run lengths of every class, as JSON."""

from __future__ import annotations

import json
from typing import BinaryIO

from refineseg.data.pictures.geotiff import Geo
from refineseg.inference.encoding.label_json import LabelJson
from refineseg.inference.encoding.run_lengths import encode_labels
from refineseg.labels import LabelMap, UInt8


class RunLengths(LabelJson):
    """See the module."""

    name, folder = "rle", "rle"

    def encode(self, stream: BinaryIO, labels: UInt8, label_map: LabelMap, geo: Geo) -> None:
        """Size, and class, train id, area, bounding box and segmentation of each class present."""
        del geo
        stream.write(json.dumps(encode_labels(labels, label_map)).encode() + b"\n")


KIND = RunLengths()
