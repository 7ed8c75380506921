"""One run at a time per output, by a lock that the system releases whenever and however its process ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from refineseg.errors import InputError
from refineseg.system.files import name_end, remove_unfinished, unfinished, unfinished_in, writable_folder, writing

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = ".lock"
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # errors for a lock that another process holds


@contextmanager
def locked(output: str | Path, beside: bool = False) -> Iterator[None]:
    """Lock an output for the block: no other process writes to it. Unfinished files of a killed run are removed.

    The lock is the file ``.lock`` in the folder ``output``; with ``beside``, for a file or a folder that appears
    as a whole, it is ``.lock-NAME`` next to it. Only the system's lock on that file counts: one that a killed run
    left behind is taken over. Folders that were created for it and are empty at the end are removed.

    Raises:
        InputError: another process holds it, or there is a file in the folder's place.
        WriteError: the folder cannot be written to.
    """
    output = Path(output)
    lock = output.absolute().with_name(f"{LOCK}{name_end(output)}") if beside else output / LOCK
    with writing(output):
        made = [folder for folder in (lock.parent, *lock.parent.parents) if not folder.exists()]
        writable_folder(lock.parent)
        handle = _hold(lock, output)
    try:
        remove_unfinished(unfinished(output) if beside else unfinished_in(output))
        yield
    finally:
        with suppress(OSError):  # Windows keeps open files
            lock.unlink()
        os.close(handle)
        for folder in made:
            with suppress(OSError):  # it holds files now
                folder.rmdir()


def check_unused(folder: Path, resume: bool) -> None:
    """InputError if the folder of a new run (not ``resume``) has anything in it but its lock."""
    if not resume and folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
        raise InputError(
            f"expected a new or empty folder for the run, {folder} holds files; use --resume or another -o"
        )


def _hold(lock: Path, output: Path) -> int:
    """The open and locked file."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
        except OSError as error:
            if error.errno in TAKEN:
                os.close(handle)
                raise InputError(
                    f"another run is writing to {output}: wait for it, or choose another output folder"
                ) from error
            return handle  # a file system without locks
        # A run that has just ended may have removed the file that we opened.
        with suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(handle)):
                return handle
        os.close(handle)


def _lock(handle: int) -> None:
    """Lock an open file without waiting. Record locks, unlike flock's, do not pass to forked loading processes."""
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
