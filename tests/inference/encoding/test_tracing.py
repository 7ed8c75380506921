"""Polygons give back their raster exactly, share borders, and keep their holes; run lengths equal pycocotools'."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from refineseg.data.pictures.geotiff import KEYS, PIXEL_SCALE, TIEPOINT, TRANSFORMATION, Geo
from refineseg.inference.encoding import tracing
from refineseg.inference.encoding.tracing import Polygon, signed_area, trace_polygons
from refineseg.inference.outputs import rle
from refineseg.inference.outputs.geojson import GeoJson
from refineseg.inference.outputs.polygons import Polygons
from refineseg.labels import LabelMap, UInt8

MAP = LabelMap.from_names(["a", "b", "c", "d"])
RASTERS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14), elements=st.integers(0, 3))


def rasterise(polygons: list[Polygon], size: tuple[int, ...], fill: int = 255) -> UInt8:
    """Polygons back to HxW train ids, ``fill`` where there is none; a pixel is inside by the even-odd rule."""
    labels = np.full(size, fill, np.uint8)
    for polygon in polygons:
        outline = polygon.rings[0]
        (left, top), (right, bottom) = outline.min(0), outline.max(0)
        walls = np.zeros((bottom - top, right - left + 1), np.uint8)
        for ring in polygon.rings:
            for (x, y), (_, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                walls[min(y, y2) - top : max(y, y2) - top, x - left] ^= 1
        inside = np.bitwise_xor.accumulate(walls, axis=1)[:, :-1].astype(np.bool_)
        labels[top:bottom, left:right][inside] = polygon.label
    return labels


def covered(polygon: Polygon, size: tuple[int, int]) -> UInt8:
    """Slow reference: how often each pixel centre is inside, by counting walls to its left."""
    inside = np.zeros(size, np.uint8)
    for y in range(size[0]):
        for x in range(size[1]):
            walls = 0
            for ring in polygon.rings:
                for (x1, y1), (x2, y2) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                    walls += bool(x1 == x2 and x1 <= x and min(y1, y2) <= y < max(y1, y2))
            inside[y, x] = walls % 2
    return inside


@settings(max_examples=60, deadline=None)
@given(RASTERS)
def test_every_pixel_is_in_one_polygon_and_it_is_of_its_class(labels: UInt8) -> None:
    polygons = list(trace_polygons(labels, range(4)))
    times = np.zeros(labels.shape, np.uint8)
    for polygon in polygons:
        mine = covered(polygon, labels.shape)
        times += mine
        assert (labels[mine.astype(bool)] == polygon.label).all()
        assert polygon.area == mine.sum()
        assert signed_area(polygon.rings[0]) > 0
        assert all(signed_area(hole) < 0 for hole in polygon.rings[1:])
    assert (times == 1).all()  # no gaps, no overlaps
    assert np.array_equal(rasterise(polygons, labels.shape), labels)


@settings(max_examples=60, deadline=None)
@given(RASTERS)
def test_neighbours_share_every_edge(labels: UInt8) -> None:
    """Every unit edge is walked once in each direction, except the picture's own, walked once."""
    walked: dict[tuple[int, int, int, int], int] = {}
    for polygon in trace_polygons(labels, range(4)):
        for ring in polygon.rings:
            for (x1, y1), (x2, y2) in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
                dx, dy = np.sign(x2 - x1), np.sign(y2 - y1)
                for i in range(max(abs(x2 - x1), abs(y2 - y1))):
                    edge = (x1 + i * dx, y1 + i * dy, x1 + (i + 1) * dx, y1 + (i + 1) * dy)
                    walked[edge] = walked.get(edge, 0) + 1
    height, width = labels.shape
    assert set(walked.values()) == {1}
    for x1, y1, x2, y2 in walked:
        outside = x1 == x2 in (0, width) or y1 == y2 in (0, height)
        assert outside != ((x2, y2, x1, y1) in walked)


def test_holes_by_hand() -> None:
    labels = np.zeros((5, 6), np.uint8)
    labels[1:4, 1:4] = 1
    labels[2, 2] = 0
    outer, inner = trace_polygons(labels, [0])
    assert outer.rings[0].tolist() == [[0, 0], [6, 0], [6, 5], [0, 5]]
    assert sorted(outer.rings[1].tolist()) == [[1, 1], [1, 4], [4, 1], [4, 4]]
    assert outer.area == 30 - 9
    assert [ring.tolist() for ring in inner.rings] == [[[2, 2], [3, 2], [3, 3], [2, 3]]]
    (ring,) = trace_polygons(labels, [1])
    assert len(ring.rings) == 2
    assert ring.area == 8


def test_a_hole_behind_a_hole_belongs_to_the_outline() -> None:
    labels = np.zeros((7, 12), np.uint8)
    labels[1:5, 2:4] = 1
    labels[2:4, 6:8] = 1
    labels[3:6, 9:11] = 1
    (polygon,) = trace_polygons(labels, [0])
    assert len(polygon.rings) == 4
    assert polygon.area == (labels == 0).sum()


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (23, 31)).astype(np.uint8)
    whole = [[ring.tolist() for ring in polygon.rings] for polygon in trace_polygons(labels, range(3))]
    monkeypatch.setattr(tracing, "STRIP", 5)
    assert [[ring.tolist() for ring in polygon.rings] for polygon in trace_polygons(labels, range(3))] == whole
    expected = rle.encode_labels(labels, MAP)
    monkeypatch.setattr(rle, "STRIP", 4)
    assert rle.encode_labels(labels, MAP) == expected


def test_geojson_in_map_coordinates() -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[1:3, 1:3] = 1
    keys = (1, 1, 0, 2, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    geo = Geo({PIXEL_SCALE: (10.0, 20.0, 0.0), TIEPOINT: (0, 0, 0, 500_000.0, 6_000_000.0, 0), KEYS: keys})
    placed = io.BytesIO()
    GeoJson().encode(placed, labels, MAP, geo)
    read = json.loads(placed.getvalue())
    assert read["crs"]["properties"]["name"].endswith("::32633")
    (square,) = [item for item in read["features"] if item["properties"]["class"] == "b"]
    (ring,) = square["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert sorted(ring[:-1]) == [
        [500_010, 5_999_940],
        [500_010, 5_999_980],
        [500_030, 5_999_940],
        [500_030, 5_999_980],
    ]
    x, y = np.array(ring[:-1]).T
    assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0  # anticlockwise, as RFC 7946 wants
    unplaced = io.BytesIO()
    GeoJson().encode(unplaced, labels, MAP, Geo())
    plain = json.loads(unplaced.getvalue())
    assert "crs" not in plain
    x, y = np.array(plain["features"][1]["geometry"]["coordinates"][0][:-1]).T
    assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() == 2 * 4
    polygons = io.BytesIO()
    Polygons().encode(polygons, labels, MAP, Geo())
    described = json.loads(polygons.getvalue())
    assert described["size"] == [4, 6]
    made = [Polygon(item["train_id"], tuple(np.array(r) for r in item["rings"])) for item in described["polygons"]]
    assert np.array_equal(rasterise(made, (4, 6)), labels)


def test_transforms_by_hand() -> None:
    corner = Geo({PIXEL_SCALE: (2.0, 3.0, 0.0), TIEPOINT: (10, 20, 0, 100.0, 200.0, 0)})
    assert corner.transform == (2.0, 0.0, 80.0, 0.0, -3.0, 260.0)
    centre = Geo({**corner.tags, KEYS: (1, 1, 0, 1, 1025, 0, 1, 2)})
    assert centre.transform == (2.0, 0.0, 79.0, 0.0, -3.0, 261.5)
    matrix = (0.0, 2.0, 0.0, 5.0, 3.0, 0.0, 0.0, 7.0, 0, 0, 0, 0, 0, 0, 0, 1)
    assert Geo({TRANSFORMATION: matrix}).transform == (0.0, 2.0, 5.0, 3.0, 0.0, 7.0)
    assert Geo().transform is None
    assert Geo().epsg is None


@settings(max_examples=150, deadline=None)
@given(RASTERS)
def test_run_lengths_equal_pycocotools(labels: UInt8) -> None:
    document = rle.encode_labels(labels, MAP)
    assert [item["train_id"] for item in document["masks"]] == np.unique(labels).tolist()
    for item in document["masks"]:
        region = np.asfortranarray(labels == item["train_id"], dtype=np.uint8)
        expected = coco.encode(region)
        assert item["segmentation"]["counts"] == expected["counts"].decode("ascii")
        assert item["segmentation"]["size"] == expected["size"]
        assert item["area"] == region.sum()
        rows, columns = np.nonzero(region)
        left, top, width, height = item["bbox"]
        assert (left, top) == (columns.min(), rows.min())
        assert (left + width - 1, top + height - 1) == (columns.max(), rows.max())


def test_long_runs_equal_pycocotools() -> None:
    labels = np.zeros((3000, 700), np.uint8)
    labels[100:2900, 300:303] = 1
    labels[5, 690] = 1
    for item in rle.encode_labels(labels, MAP)["masks"]:
        region = np.asfortranarray(labels == item["train_id"], dtype=np.uint8)
        assert item["segmentation"]["counts"] == coco.encode(region)["counts"].decode("ascii")
