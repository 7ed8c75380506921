"""The one place that imports pyarrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refineseg.errors import InputError, extra
from refineseg.system.files import atomic_path
from refineseg.system.text import reason_of


def parquet() -> Any:
    """The module pyarrow.parquet; MissingExtraError without it."""
    with extra("pyarrow", "data", "parquet files"):
        from pyarrow import parquet
    return parquet


def open_parquet(path: Path) -> Any:
    """A pyarrow ParquetFile; InputError if the file is not parquet."""
    try:
        return parquet().ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        raise InputError(f"expected parquet, cannot read {path} ({reason_of(error)}): is it cut off?") from error


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """A file of these columns, whole or not at all."""
    module = parquet()
    import pyarrow

    with atomic_path(path) as temporary:
        module.write_table(pyarrow.table(dict(columns)), temporary)
