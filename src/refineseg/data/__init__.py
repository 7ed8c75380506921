"""Data sets: reading, checking, conversion, transforms and batches. Names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refineseg.system.lazy import importer

if TYPE_CHECKING:
    from refineseg.data.dataset import Sample as Sample
    from refineseg.data.dataset import SegmentationData as SegmentationData
    from refineseg.data.images import read_image as read_image
    from refineseg.data.images import read_mask as read_mask
    from refineseg.data.registry import open_data as open_data

_HOMES = {
    "Sample": "refineseg.data.dataset",
    "SegmentationData": "refineseg.data.dataset",
    "open_data": "refineseg.data.registry",
    "read_image": "refineseg.data.images",
    "read_mask": "refineseg.data.images",
}
__all__ = list(_HOMES)
__getattr__ = importer(__name__, _HOMES)
