"""Base of the output kinds that are JSON made from labels."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from refineseg.data.pictures.geotiff import Geo
from refineseg.inference.encoding.tracing import Polygon
from refineseg.inference.outputs import LargeResult, OutputKind
from refineseg.labels import LabelMap, UInt8
from refineseg.system.files import atomic_path

if TYPE_CHECKING:
    from refineseg.inference.result import Result


class LabelJson(OutputKind):
    """A kind whose ``encode`` writes HxW train ids as JSON."""

    suffix, media_type = ".json", "application/json"

    @abstractmethod
    def encode(self, stream: BinaryIO, labels: UInt8, label_map: LabelMap, geo: Geo) -> None:
        """Write the document."""

    def write(self, result: Result, stream: BinaryIO, effort: int = 6) -> None:
        """The labels of a whole result."""
        del effort
        self.encode(stream, result.labels, result.label_map, result.geo)

    def write_large(self, large: LargeResult, folder: Path, name: str) -> Path:
        """Labels are read into memory as a whole, a byte per pixel."""
        path = self.path(folder, name)
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            labels = large.labels.rows(0, large.labels.size[0])
            self.encode(stream, labels, large.label_map, large.picture.geo)
        return path


def described(polygon: Polygon, label_map: LabelMap) -> dict[str, Any]:
    """Class, train id and area of a polygon."""
    return {"class": label_map.names[polygon.label], "train_id": polygon.label, "area_pixels": polygon.area}


def write_items(stream: BinaryIO, head: str, items: Iterator[dict[str, Any]]) -> None:
    """Write one item per line, so that the document never exists as a whole."""
    stream.write(head.encode())
    for number, item in enumerate(items):
        stream.write(((",\n" if number else "\n") + json.dumps(item, ensure_ascii=False)).encode())
    stream.write(b"\n]}\n")
