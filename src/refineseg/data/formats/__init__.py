"""Annotation formats of other tools: imported as folder data sets, and predictions exported as pre-labels.

A format is one file in this folder; ``parsing/`` has shared code, ``transfer/`` the import and the export.
"""

from refineseg.data.formats.format import (
    AnnotatedData,
    ClassEdits,
    FaultsError,
    Format,
    Item,
    Prediction,
    ReadOptions,
    Unannotated,
    WriteOptions,
    Written,
)
from refineseg.data.formats.known_formats import detect, formats
from refineseg.data.formats.parsing.label_files import read_labels
from refineseg.data.formats.transfer.exporter import export_predictions
from refineseg.data.formats.transfer.import_options import ImportOptions, ImportReport
from refineseg.data.formats.transfer.importer import import_data

__all__ = [
    "AnnotatedData",
    "ClassEdits",
    "FaultsError",
    "Format",
    "ImportOptions",
    "ImportReport",
    "Item",
    "Prediction",
    "ReadOptions",
    "Unannotated",
    "WriteOptions",
    "Written",
    "detect",
    "export_predictions",
    "formats",
    "import_data",
    "read_labels",
]
