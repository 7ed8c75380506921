"""Polygons as GeoJSON (RFC 7946), in map coordinates where the picture has them."""

from __future__ import annotations

import json
from typing import BinaryIO

import numpy as np

from refineseg.data.pictures.geotiff import Geo
from refineseg.inference.encoding.label_json import LabelJson, described, write_items
from refineseg.inference.encoding.tracing import Ints, trace_polygons
from refineseg.labels import LabelMap, UInt8


class GeoJson(LabelJson):
    """See the module."""

    name, folder, suffix, media_type = "geojson", "geojson", ".geojson", "application/geo+json"

    def encode(self, stream: BinaryIO, labels: UInt8, label_map: LabelMap, geo: Geo) -> None:
        """A FeatureCollection (RFC 7946) in the map coordinates of a GeoTIFF, in pixels without them.

        As the RFC requires, outlines are anticlockwise and rings closed. It allows longitude and latitude only;
        other coordinate systems are named by the ``crs`` member of the 2008 format, which GDAL and QGIS read.
        """
        head = '{"type": "FeatureCollection", '
        if geo.epsg is not None:
            name = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{geo.epsg}"}}
            head += f'"crs": {json.dumps(name)}, '
        a, b, _, d, e, _ = geo.transform or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        mirrored = a * e - b * d < 0
        items = (
            {
                "type": "Feature",
                "properties": described(polygon, label_map),
                "geometry": {
                    "type": "Polygon",
                    "coordinates": [_closed(ring, geo, mirrored) for ring in polygon.rings],
                },
            }
            for polygon in trace_polygons(labels, range(label_map.num_classes))
        )
        write_items(stream, head + '"features": [', items)


def _closed(ring: Ints, geo: Geo, mirrored: bool) -> list[list[float]]:
    # Clockwise with rows going down is anticlockwise in numbers; a map with y going up mirrors it.
    points = ring[::-1] if mirrored else ring
    placed = geo.to_map(points.astype(np.float64)) if geo.transform else points
    corners: list[list[float]] = placed.tolist()
    return [*corners, corners[0]]


KIND = GeoJson()
