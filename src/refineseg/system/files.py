"""Writing files so that nothing half-written is ever left under a final name."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from refineseg.errors import InputError, WriteError

WRITING = ".writing-"  # begins the names of files and folders that are not whole yet
RANDOM = 8  # characters that mkstemp and mkdtemp add to it
LONGEST_NAME = 230  # bytes; file systems take 255
LARGEST_TEXT = 2 << 30  # bytes of a file that is read as a whole


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. OSError for folders, pipes, sockets and devices, which may block or never end."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_file(path: Path) -> bytes:
    """The content of a file; OSError as ``open_file``, and for more than LARGEST_TEXT."""
    with open_file(path) as stream:
        if (size := os.fstat(stream.fileno()).st_size) > LARGEST_TEXT:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, at most {LARGEST_TEXT:,} are read", str(path))
        return stream.read()


def sha256_of(*files: Path) -> str:
    """SHA-256 of files one after another, in hexadecimal."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def writing(path: Path, error_type: type[Exception] = OSError) -> Iterator[None]:
    """Turn errors of writing into a WriteError with the system's reason, and the file if it is not ``path``."""
    try:
        yield
    except error_type as error:
        reason = f"{type(error).__name__} {error}"
        if isinstance(error, OSError) and error.strerror:
            named = str(error.filename or path)
            reason = error.strerror + ("" if named == str(path) or WRITING in named else f" ({named})")
        raise WriteError(f"cannot write {path}: {reason}; free space, or choose another output folder") from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; it takes the final name only if the block succeeds.

    The temporary name keeps the suffix, since encoders choose the format by it. Raises WriteError with the
    system's reason (no permission, no space) if the file cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=WRITING, suffix=name_end(path), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _flush(temporary)
            _permit(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a whole file under a temporary name, then rename it."""
    # File names need not be UTF-8; bytes that are not are written as escapes.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``, which is removed after the block.

    Raises WriteError with the system's reason (no permission, no space) if files cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=WRITING, suffix=name_end(path), dir=path.parent))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder that takes the name ``path``, in place of what is there, if the block succeeds."""
    path = Path(path)
    with folder_beside(path) as temporary:
        new = temporary / "new"  # has the usual permissions, unlike the temporary folder
        new.mkdir()
        yield new
        for file in new.iterdir():
            if file.is_file():
                _flush(file)
                _permit(file)
        old = temporary / "old"
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        finally:
            if old.exists() and not path.exists():  # otherwise it would go with the temporary folder
                old.rename(path)


def remove_unfinished(left: Iterable[Path]) -> None:
    """Remove files and folders that a killed run did not finish; a folder that it was replacing is restored."""
    for path in left:
        final = path.with_name(path.name[len(WRITING) + RANDOM + 1 :])
        if (path / "old").is_dir() and not final.exists():
            (path / "old").rename(final)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def unfinished(path: Path) -> list[Path]:
    """Temporary files and folders that killed runs left beside ``path``."""
    return list(path.parent.glob(f"{WRITING}{'?' * RANDOM}{glob.escape(name_end(path))}"))


def unfinished_in(folder: Path) -> list[Path]:
    """Temporary files and folders that killed runs left in ``folder`` and below."""
    return list(folder.rglob(f"{WRITING}*"))


def check_new(folder: Path) -> None:
    """InputError if the name is taken, except by an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists: choose another name for the output folder")


def writable_folder(path: str | Path) -> Path:
    """Make ``path`` a folder that can be written to, or raise an error that says why it cannot be one."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"expected an output folder, got the file {path}: choose another name")
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    return path


def name_end(path: Path) -> str:
    """The end of a temporary name: the final name, or if that is too long a shorter one with a checksum."""
    if len(os.fsencode(path.name)) <= LONGEST_NAME:
        return f"-{path.name}"
    return f"-{path.stem[:40]}-{zlib.crc32(os.fsencode(path.name)):08x}{path.suffix[:20]}"


def _flush(path: Path) -> None:
    with path.open("rb+") as stream:  # Windows flushes only what is open for writing
        os.fsync(stream.fileno())


def _permit(path: Path) -> None:
    """Give a file the usual permissions, where the file system has any."""
    with suppress(OSError):
        path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def expanded(path: str | Path) -> Path:
    """The path with the user's home folder for ``~``; unchanged where the system does not know the user."""
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def cache_folder() -> Path:
    """Folder of exports and imported networks, kept across runs: REFINESEG_CACHE, or the system's cache folder.

    InputError for a user without a home folder, as in containers.
    """
    own = os.environ.get("REFINESEG_CACHE")
    if own:
        return expanded(own)
    home = expanded("~")
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local")
    elif sys.platform == "darwin":
        base = home / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    if base.parts[0] == "~":
        raise InputError(
            "expected a home folder for the cache, this user has none: set REFINESEG_CACHE to a folder"
        )
    return base / "refineseg"


def writable_cache(folder: Path) -> Path:
    """Make a folder of the cache, or raise an InputError that says how to choose another one."""
    try:
        return writable_folder(folder)
    except InputError as error:
        raise InputError(
            f"{str(error).partition(';')[0]}; set REFINESEG_CACHE to a folder for the cache"
        ) from error
