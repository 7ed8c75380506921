"""Safe, resumable extraction of selected members of tar and zip archives."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO

from refineseg.errors import InputError
from refineseg.system.files import atomic_path

FileProgress = Callable[[int, int, str], None]  # amount done (bytes of an archive, or files), total, file name
Place = Callable[[str, str], str | None]  # (archive's name, member's path) to a path under the root, or None
DAMAGED: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    RuntimeError,  # zipfile's for encrypted members and unknown compression
)
if find_spec("compression") is not None:  # from Python 3.14 on
    DAMAGED += (import_module("compression.zstd").ZstdError,)


@dataclass(frozen=True)
class Member:
    """A regular file in an archive: its path, its size in bytes, and the bytes of the archive read before it."""

    path: str
    size: int
    read: int
    open: Callable[[], IO[bytes]]


@dataclass
class Taken:
    """Number of files written, of existing files kept, and of members skipped."""

    written: int = 0
    present: int = 0
    passed: int = 0

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.written + other.written, self.present + other.present, self.passed + other.passed)


def extract(archive: Path, root: Path, place: Place, progress: FileProgress) -> Taken:
    """Extract the members that have a ``place`` under ``root``, each atomically.

    Existing files of the right size are kept; links and devices are skipped. InputError for a missing or damaged
    archive, or a member that points outside the root.
    """
    taken, size = Taken(), archive.stat().st_size if archive.is_file() else 0
    with _members(archive) as members:
        for member in members:
            path = place(archive.name, _checked(member.path, archive))
            if path is None:
                taken.passed += 1
                continue
            target = root / _checked(path, archive)
            if target.is_file() and target.stat().st_size == member.size:
                taken.present += 1
            else:
                with atomic_path(target) as temporary, member.open() as source, temporary.open("wb") as sink:
                    while chunk := _read(source):
                        sink.write(chunk)
                taken.written += 1
            progress(min(member.read, size), size, target.name)
    progress(size, size, "")
    return taken


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    """The regular files of an archive; a plain file counts as an archive of itself."""
    if not archive.is_file():
        raise InputError(f"File not found: {archive}")
    with archive.open("rb") as stream:
        start = stream.read(512)
    if start and not any(start):  # zeros of an incomplete download, which lzma would search to the end
        raise InputError(f"cannot read {archive} as an archive, it begins with zeros: download it again")
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _of_zip(opened)
        elif tarfile.is_tarfile(archive):
            with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
                yield _of_tar(tar, raw)
        elif archive.name.lower().endswith((".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz")):
            raise InputError(f"cannot read {archive} as an archive: is it complete? Download it again")
        else:
            size = archive.stat().st_size
            yield iter([Member(archive.name, size, size, lambda: archive.open("rb"))])
    except DAMAGED as error:
        raise InputError(f"{archive} is damaged or incomplete ({error}): download it again") from error


def _of_zip(opened: zipfile.ZipFile) -> Iterator[Member]:
    read = 0
    for info in opened.infolist():
        read += info.compress_size
        linked = info.external_attr >> 16 & 0o170000 == 0o120000
        if not info.is_dir() and not linked:
            yield Member(info.filename, info.file_size, read, partial(opened.open, info))


def _of_tar(tar: tarfile.TarFile, raw: IO[bytes]) -> Iterator[Member]:
    for info in tar:
        if info.isreg():
            yield Member(info.name, info.size, raw.tell(), partial(tar.extractfile, info))  # type: ignore[arg-type]  # a file has content


def _checked(path: str, archive: Path) -> str:
    """The path with forward slashes; InputError if it leads out of the folder."""
    plain = path.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    if not parts or plain.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in plain:
        raise InputError(f"{archive}: refused the member {path!r}, which points outside the folder")
    return str(PurePosixPath(plain))


def _read(source: IO[bytes]) -> bytes:
    """The next megabyte; an OSError here means a damaged archive, not a full disk."""
    try:
        return source.read(1 << 20)
    except OSError as error:
        raise tarfile.ReadError(str(error)) from error
