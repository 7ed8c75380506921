"""COCO's polygons by pycocotools, and its RLE; pycocotools' own decoder reads beyond the end of damaged RLE."""

from __future__ import annotations

from typing import Any

import numpy as np

from refineseg.data.formats.format import Shape
from refineseg.data.formats.parsing.documents import Node
from refineseg.data.formats.parsing.find_pictures import check_size
from refineseg.data.formats.parsing.shapes import Region, runs_to_region
from refineseg.errors import InputError, extra
from refineseg.system.text import counted


def decode_segmentation(segmentation: Node, shape: Shape) -> Region:
    """Polygons, uncompressed or compressed RLE as HxW.

    Raises InputError for anything else, and for RLE that does not fill the picture exactly.
    """
    if isinstance(segmentation.value, dict):
        return _from_rle(segmentation, shape)
    coco = _mask_api()
    polygons = [_checked_polygon(node, shape) for node in segmentation if not node.empty()]
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, *shape))), dtype=np.bool_)


def encode_rle(region: Region) -> tuple[dict[str, Any], list[float]]:
    """A region as compressed RLE for JSON, and its bounding box [left, top, width, height]."""
    coco = _mask_api()
    rle = coco.encode(np.asfortranarray(region, dtype=np.uint8))
    box = [float(value) for value in coco.toBbox(rle)]
    return {"size": list(region.shape), "counts": rle["counts"].decode("ascii")}, box


def counts_of(text: str, place: str) -> list[int]:
    """Run lengths from COCO's compressed string (LEB128-like, see maskApi.c).

    Characters from ``0`` hold 5 bits, low bits first, and a continuation flag; the highest bit is the sign; from
    the third run on the difference to the run before the last is stored.
    """
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 35:
            raise InputError(f"{place}: expected compressed run lengths, got the character {letter!r}")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise InputError(f"{place}: expected compressed run lengths, they are cut off")
    return counts


def _from_rle(node: Node, shape: Shape) -> Region:
    size = [part.integer() for part in node["size"]]
    if len(size) != 2:
        raise node["size"].fail("[height, width]")
    check_size((size[0], size[1]), shape, node.place)
    counts = node["counts"]
    compressed = isinstance(counts.value, str)
    runs = counts_of(counts.value, counts.place) if compressed else [run.integer() for run in counts]
    return runs_to_region(runs, shape, counts.place, order="F")


def _checked_polygon(node: Node, shape: Shape) -> list[float]:
    values = node.numbers()
    if len(values) < 6 or len(values) % 2:
        raise InputError(f"{node.place}: expected x, y of at least 3 points, got {counted(values, 'number')}")
    limits = [shape[1], shape[0]] * (len(values) // 2)
    outside = [value for value, limit in zip(values, limits, strict=True) if not -limit <= value <= 2 * limit]
    if outside:
        raise InputError(
            f"{node.place}: expected coordinates in the picture {shape[1]}x{shape[0]}, got {outside[0]}"
        )
    return values


def _mask_api() -> Any:
    with extra("pycocotools", "data", "COCO's masks"):
        from pycocotools import mask
    return mask
