"""Folders that appear as a whole, or not at all, and never over something that is there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refineseg.errors import InputError


def check_new(folder: Path) -> None:
    """InputError if there is something under the name already, an empty folder aside."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"expected a new or empty folder to write to, {folder} is there; choose another name")


@contextmanager
def staged(root: Path) -> Iterator[Path]:
    """A hidden folder beside ``root`` that takes its name if the block succeeds, and goes otherwise."""
    staging: Path | None = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        inner = staging / root.name  # made with usual permissions, unlike the temporary folder
        inner.mkdir()
        yield inner
        if root.is_dir():
            root.rmdir()
        inner.rename(root)
    except OSError as error:
        reason = f"{error.strerror or type(error).__name__} ({error.filename or 'no file named'})"
        raise InputError(
            f"cannot write {root}: {reason}; choose another output place or free space there"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
