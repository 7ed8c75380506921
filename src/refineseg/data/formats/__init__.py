"""Others' annotation formats: read into folder data sets, and predictions written as pre-labels."""

from refineseg.data.formats.base import Format, Item, ReadOptions, Source
from refineseg.data.formats.classes import read_labels
from refineseg.data.formats.exporter import export_predictions
from refineseg.data.formats.importer import ImportReport, import_data
from refineseg.data.formats.registry import FORMATS, detect

__all__ = [
    "FORMATS",
    "Format",
    "ImportReport",
    "Item",
    "ReadOptions",
    "Source",
    "detect",
    "export_predictions",
    "import_data",
    "read_labels",
]
