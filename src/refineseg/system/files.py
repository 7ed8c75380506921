"""Writing files so that nothing half-written is ever left under a final name."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refineseg.errors import InputError, WriteError


def cannot_write(path: Path, error: Exception) -> WriteError:
    """The error to raise, with the system's reason where it gives one."""
    reason = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__} {error}"
    return WriteError(f"cannot write {path}: {reason}; choose another output place or free space there")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the final name only if the block succeeds.

    The temporary name keeps the suffix, since encoders choose the format by it. Raises WriteError with the
    system's reason (no permission, no space) if the file cannot be written.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a whole file under a temporary name, then rename it."""
    # Names of files may be no UTF-8; they are written as Python shows them.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that replaces ``path`` as a whole if the block succeeds."""
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        yield temporary
        for file in temporary.iterdir():
            file.chmod(0o666 & ~_umask())
            _flush(file)
        temporary.chmod(0o777 & ~_umask())
        old = temporary.with_name(temporary.name + ".old")
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def writable_folder(path: str | Path) -> Path:
    """Make ``path`` a folder that can be written to, or say in one line why it cannot be one."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"expected an output folder, got the file {path}: choose another name")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def leftovers(path: str | Path) -> list[Path]:
    """What a killed process left half-written for ``path``, whose name may have wildcards."""
    path = Path(path)
    patterns = (f".{path.stem}.????????{path.suffix}", f".{path.name}.????????.old")
    return [found for pattern in patterns for found in path.parent.glob(pattern)]


def _flush(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
