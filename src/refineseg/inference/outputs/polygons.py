"""Polygons along the edges of pixels, as JSON."""

from __future__ import annotations

import json
from typing import BinaryIO

from refineseg.data.pictures.geotiff import Geo
from refineseg.inference.encoding.label_json import LabelJson, described, write_items
from refineseg.inference.encoding.tracing import trace_polygons
from refineseg.labels import LabelMap, UInt8


class Polygons(LabelJson):
    """See the module."""

    name, folder = "polygons", "polygons"

    def encode(self, stream: BinaryIO, labels: UInt8, label_map: LabelMap, geo: Geo) -> None:
        """Size (height, width) and polygons: class, train id, area, rings of pixel corners."""
        del geo
        head = f'{{"size": {json.dumps(list(labels.shape))}, "polygons": ['
        items = (
            described(polygon, label_map) | {"rings": [ring.tolist() for ring in polygon.rings]}
            for polygon in trace_polygons(labels, range(label_map.num_classes))
        )
        write_items(stream, head, items)


KIND = Polygons()
