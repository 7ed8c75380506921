"""Data sets: reading, checking, conversion, transforms and batches. Names are imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refineseg.data.dataset import Sample, SegmentationData
    from refineseg.data.images import read_image, read_mask
    from refineseg.data.registry import open_data

_HOMES = {
    "Sample": "refineseg.data.dataset",
    "SegmentationData": "refineseg.data.dataset",
    "open_data": "refineseg.data.registry",
    "read_image": "refineseg.data.images",
    "read_mask": "refineseg.data.images",
}

__all__ = ["Sample", "SegmentationData", "open_data", "read_image", "read_mask"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'refineseg.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
