"""Data sets, reading, joint transforms and batches."""

from refineseg.data.images import read_image, read_mask
from refineseg.data.registry import open_data
from refineseg.data.source import Sample, SegmentationData

__all__ = ["Sample", "SegmentationData", "open_data", "read_image", "read_mask"]
