"""Hugging Face datasets: parquet files with columns of encoded pictures and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.formats.format import AnnotatedData, Format, Item, ReadOptions, Shape, not_empty
from refineseg.data.formats.parsing.class_names import by_train_id, edit_labels
from refineseg.data.formats.parsing.documents import read_json
from refineseg.data.formats.parsing.find_pictures import split_in_name
from refineseg.data.formats.parsing.label_files import find_labels
from refineseg.data.formats.parsing.mask_labels import by_color
from refineseg.data.images import read_mask
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8
from refineseg.system.parquet import open_parquet
from refineseg.system.text import counted, reason_of

IMAGE_COLUMNS = ("image", "images", "img", "pixel_values", "picture")
MASK_COLUMNS = (
    "label",
    "labels",
    "annotation",
    "annotations",
    "mask",
    "masks",
    "semantic_segmentation",
    "segmentation_mask",
)


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """The rows of all parquet files; splits by file name (train-00000-of-00001.parquet)."""
    files = not_empty(_files(src), "parquet files of a Hugging Face data set", src)
    labels = options.labels or _labels(src if src.is_dir() else src.parent)
    labels = None if labels is None else edit_labels(labels, options.edits)
    items: list[Item] = []
    for file in files:
        table = _Table(file)
        if labels is None:
            column = table.column(MASK_COLUMNS, "masks")
            raise InputError(
                f"expected class names for the masks in {column!r} of {file}; write a labels.yaml "
                "(classes: [background, road]) or id2label.json beside the parquet files, or give --labels"
            )
        split = split_in_name(file.name.split("-")[0]) or split_in_name(file.parent.name)
        with options.faults.collect():
            for row in range(len(table.rows)):
                name = f"{file.stem.split('-of-')[0]}-{row:06d}"
                items.append(Item(name, partial(_picture, table, row), partial(_paint, table, row, labels), split))
    if labels is None or (not items and not len(options.faults)):
        raise InputError(f"expected rows in the parquet files of {src}, found none")
    return AnnotatedData(by_train_id(labels), items)


@dataclass(frozen=True, eq=False)  # compared by identity: a file may change between two imports
class _Table:
    """One parquet file, read a row group at a time."""

    file: Path

    @cached_property
    def opened(self) -> Any:
        """The pyarrow ParquetFile."""
        return open_parquet(self.file)

    @cached_property
    def groups(self) -> list[int]:
        """Number of rows of each group."""
        metadata = self.opened.metadata
        return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]

    @cached_property
    def rows(self) -> list[tuple[int, int]]:
        """Group, and position in it, of every row."""
        return [(group, position) for group, count in enumerate(self.groups) for position in range(count)]

    def column(self, known: Sequence[str], what: str) -> str:
        """The first of the known columns that there is; InputError if there is none."""
        columns = self.opened.schema_arrow.names
        for name in known:
            if name in columns:
                return name
        found = ", ".join(columns)[:120]
        raise InputError(f"{self.file}: expected a column with {what} ({', '.join(known[:5])}), found {found}")

    def cell(self, row: int, column: str) -> tuple[Any, str]:
        """The value of a row in a column, and its place for errors."""
        group, position = self.rows[row]
        return _group(self, group, column)[position].as_py(), f"{self.file}: row {row}: {column}"


@lru_cache(maxsize=2)  # pictures and masks of the group at hand
def _group(table: _Table, group: int, column: str) -> Any:
    """One column of one row group."""
    try:
        values = table.opened.read_row_group(group, columns=[column]).column(column)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {column} of {table.file} ({reason_of(error)}): is the file damaged?"
        ) from error
    rows = table.groups[group]
    if len(values) != rows:  # footer and pages disagree
        raise InputError(
            f"expected {counted(rows, 'row')} of {column} in {table.file}, found {len(values)}: is the file "
            "damaged?"
        )
    return values


def _picture(table: _Table, row: int) -> bytes:
    """The encoded picture of a row."""
    return _bytes(*table.cell(row, table.column(IMAGE_COLUMNS, "pictures")))


def _paint(table: _Table, row: int, labels: LabelMap, _: Shape) -> UInt8:
    """Train ids of a row's mask: an encoded picture, or lists of numbers."""
    value, place = table.cell(row, table.column(MASK_COLUMNS, "masks"))
    raw = _from_lists(value, place) if isinstance(value, list) else read_mask(_bytes(value, place), place)
    return (by_color(labels) if raw.ndim == 3 else labels).encode(raw, place)


def _bytes(value: Any, place: str) -> bytes:
    """The bytes of a picture: plain, or with a name, as the datasets library stores them."""
    found = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(found, bytes):
        hint = (
            "; it names a file only, save the data set with embedded pictures" if isinstance(value, dict) else ""
        )
        raise InputError(f"{place}: expected the bytes of a picture, got {type(found).__name__}{hint}")
    return found


def _from_lists(value: list[Any], place: str) -> NDArray[Any]:
    try:
        mask = np.array(value)
    except ValueError as error:
        raise InputError(f"{place}: expected rows of one length") from error
    if mask.ndim != 2 or mask.dtype.kind not in "ui" or mask.min(initial=0) < 0 or mask.max(initial=0) > 65535:
        raise InputError(f"{place}: expected rows of numbers 0..65535, got {mask.dtype} of shape {mask.shape}")
    return mask


def _labels(folder: Path) -> LabelMap | None:
    """Classes from id2label.json, as in Hub repositories, else from a labels file."""
    file = folder / "id2label.json"
    if not file.is_file():
        return find_labels(folder)
    document = read_json(file)
    try:
        numbers = {int(key): document[key].text() for key in document.value}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{file}: expected numbers and class names, such as {json.dumps({'0': 'road'})}"
        ) from error
    if sorted(numbers) != list(range(len(numbers))):
        raise InputError(f"{file}: expected the numbers 0 to {len(numbers) - 1}, got {sorted(numbers)[:8]}")
    return LabelMap.from_names([numbers[index] for index in range(len(numbers))])


def _files(src: Path) -> list[Path]:
    """A parquet file, or those of a folder, also in data/ or one folder per split."""
    if src.is_file():
        return [src] if src.suffix.lower() == ".parquet" else []
    return sorted(file for place in ("*.parquet", "*/*.parquet", "*/*/*.parquet") for file in src.glob(place))


FORMAT = Format(
    name="huggingface",
    title="Hugging Face data set (parquet)",
    needs="parquet files with columns image and label, and id2label.json or labels.yaml",
    fits=_files,
    read=read,
    marks=("suffix .parquet", "file id2label.json"),
)
