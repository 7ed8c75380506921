"""The one place that imports pyarrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refineseg.errors import InputError, MissingExtraError
from refineseg.system.files import atomic_path


def parquet() -> Any:
    """The module pyarrow.parquet; MissingExtraError without it."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", "parquet files") from error
    return parquet


def open_parquet(path: Path) -> Any:
    """A pyarrow ParquetFile. InputError if it is none."""
    try:
        return parquet().ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are these
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"expected parquet, cannot read {path} ({reason}): is it cut off?") from error


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """A file of these columns, whole or not at all."""
    module = parquet()
    import pyarrow

    with atomic_path(path) as temporary:
        module.write_table(pyarrow.table(dict(columns)), temporary)
