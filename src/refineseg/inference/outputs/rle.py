"""COCO's run lengths of every class, compressed as in its maskApi, as JSON.

pycocotools encodes one full-size mask per class; this takes one pass for all classes.
"""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from refineseg.data.pictures.geotiff import Geo
from refineseg.inference.encoding.label_json import LabelJson
from refineseg.labels import LabelMap, UInt8

STRIP = 512  # columns transposed at a time, since run lengths go down the columns
DIGITS = 7  # digits of 5 bits, enough for a difference of two 32-bit numbers
Ints = NDArray[np.int64]


class RunLengths(LabelJson):
    """See the module."""

    name, folder = "rle", "rle"

    def encode(self, stream: BinaryIO, labels: UInt8, label_map: LabelMap, geo: Geo) -> None:
        """Size, and class, train id, area, bounding box and segmentation of each class present."""
        del geo
        stream.write(json.dumps(encode_labels(labels, label_map)).encode() + b"\n")


def class_runs(labels: UInt8) -> tuple[Ints, Ints]:
    """Start and label of every run in HxW labels; positions count down the columns, one after the other."""
    height, width = labels.shape
    starts: list[Ints] = []
    values: list[Ints] = []
    previous = -1
    for left in range(0, width, STRIP):
        flat = labels[:, left : left + STRIP].T.ravel().astype(np.int16)
        changes = np.flatnonzero(np.diff(flat, prepend=np.int16(previous)))
        starts.append(changes + left * height)
        values.append(flat[changes].astype(np.int64))
        previous = int(flat[-1])
    return np.concatenate(starts), np.concatenate(values)


def compress(counts: Ints) -> str:
    """Counts as a string of COCO's maskApi.

    From the fourth count on, the difference to the count before the last is stored. Digits of 5 bits, lowest
    first, with a sixth bit set if more follow, are characters from ``0`` on; the last digit's highest bit is the
    sign.
    """
    x = counts.astype(np.int64).copy()
    x[3:] -= counts[1:-2]
    characters = np.zeros((len(x), DIGITS), np.uint8)
    going = np.ones(len(x), np.bool_)
    for digit in range(DIGITS):
        low = x & 31
        x = x >> 5
        more = np.where(low & 16, x != -1, x != 0)
        characters[:, digit] = np.where(going, low + 48 + 32 * more, 0)
        going &= more
    return characters[characters > 0].tobytes().decode("ascii")


def encode_labels(labels: UInt8, label_map: LabelMap) -> dict[str, Any]:
    """HxW train ids as a compressed RLE for each class present, for JSON; bbox is left, top, width, height."""
    height, width = labels.shape
    starts, values = class_runs(labels)
    lengths = np.diff(starts, append=height * width)
    found = []
    for index, name in enumerate(label_map.names):
        mine = values == index
        if not mine.any():
            continue
        # COCO's counts: pixels outside, inside, outside ... in turn. The first may be 0, a last 0 is left out.
        edges = np.stack([starts[mine], starts[mine] + lengths[mine]], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=height * width)
        segmentation = {"size": [height, width], "counts": compress(counts if counts[-1] else counts[:-1])}
        box = _box(starts[mine], lengths[mine], height)
        area = int(lengths[mine].sum())
        found.append({"class": name, "train_id": index, "area": area, "bbox": box, "segmentation": segmentation})
    return {"size": [height, width], "masks": found}


def _box(starts: Ints, lengths: Ints, height: int) -> list[int]:
    last = starts + lengths - 1
    left, right = int(starts[0] // height), int(last[-1] // height)
    wraps = bool((starts // height != last // height).any())  # from the bottom of a column to the top of the next
    top = 0 if wraps else int((starts % height).min())
    bottom = height - 1 if wraps else int((last % height).max())
    return [left, top, right - left + 1, bottom - top + 1]


KIND = RunLengths()
