"""Writing: whole or not at all."""

from __future__ import annotations

import errno
import os
from importlib import reload
from pathlib import Path

import pytest

from refineseg.errors import InputError, WriteError
from refineseg.system.files import (
    atomic_folder,
    atomic_path,
    atomic_write,
    cache_folder,
    expanded,
    folder_beside,
    read_file,
    writable_cache,
    writable_folder,
)


class BrokenOffError(Exception):
    """Raised in the middle of a write."""


def break_off_file(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise BrokenOffError


def break_off_folder(folder: Path) -> None:
    with atomic_folder(folder) as temporary:
        (temporary / "b").write_text("2")
        raise BrokenOffError


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_a_broken_off_file_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    atomic_write(path, "old")
    with pytest.raises(BrokenOffError):
        break_off_file(path)
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["f.txt"]
    atomic_write(path, b"new")
    assert path.read_text() == "new"


def test_a_broken_off_folder_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(BrokenOffError):
        break_off_folder(folder)
    assert everything(tmp_path) == ["a", "d"]
    with atomic_folder(folder) as temporary:
        (temporary / "c").write_text("3")
    assert everything(tmp_path) == ["c", "d"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("x")
    for write in (
        lambda: atomic_write(blocker / "f", "x"),
        lambda: writable_folder(blocker),
        lambda: writable_folder(blocker / "d"),
    ):
        with pytest.raises(InputError, match="file"):
            write()
    assert blocker.read_text() == "x"


def test_a_disk_that_fills_up_while_a_folder_is_written(tmp_path: Path) -> None:
    """As of an export: the file is named, not the temporary folder, and that folder goes."""
    model = tmp_path / "m.onnx"

    def fill_the_disk() -> None:
        with folder_beside(model) as temporary:
            (temporary / "half").write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device", str(temporary / "half"))

    with pytest.raises(WriteError, match=f"cannot write {model}: No space left on device; free space"):
        fill_the_disk()
    assert everything(tmp_path) == []


def test_missing_parents_are_made(tmp_path: Path) -> None:
    atomic_write(tmp_path / "a" / "b" / "f", "x")
    assert (tmp_path / "a" / "b" / "f").read_text() == "x"
    assert writable_folder(tmp_path / "c" / "d").is_dir()


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_text("1")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise PermissionError(13, "Permission denied", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(WriteError, match="Permission denied"), atomic_folder(folder) as temporary:
        (temporary / "b").write_text("2")
    assert everything(tmp_path) == ["a", "model"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipes_devices_and_holes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert read_file(tmp_path / "file") == b"abc"
    os.mkfifo(tmp_path / "pipe")  # opening it as usual would wait for a writer
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless", "."):
        with pytest.raises(OSError, match="not a regular file"):
            read_file(tmp_path / name)
    os.truncate(tmp_path / "file", 1 << 40)
    with pytest.raises(OSError, match="at most 2,147,483,648 are read"):
        read_file(tmp_path / "file")


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the system does not know, as a container's with ``--user 12345``."""
    for name in ("HOME", "USERPROFILE", "HOMEPATH", "XDG_CACHE_HOME", "LOCALAPPDATA", "REFINESEG_CACHE"):
        monkeypatch.delenv(name, raising=False)
    if os.name == "posix":
        import pwd

        def unknown(uid: int) -> pwd.struct_passwd:
            raise KeyError(uid)

        monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("no_home")
def test_without_a_home_folder_only_a_cache_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert expanded("~/data") == Path("~/data")
    assert expanded("~nobody-of-this-name/a.png") == Path("~nobody-of-this-name/a.png")
    with pytest.raises(InputError, match="this user has none: set REFINESEG_CACHE"):
        cache_folder()
    monkeypatch.setenv("REFINESEG_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.usefixtures("no_home")
def test_every_module_is_imported_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from refineseg.inference import fonts
    from refineseg.loading import fastest_export
    from refineseg.model.tensors.checkpoints import torch_caches

    monkeypatch.delenv("TORCH_HOME", raising=False)
    reload(fonts)
    assert torch_caches() == []
    assert fastest_export(Path()) is None


def test_a_cache_that_cannot_be_written_says_how_to_choose_another(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="set REFINESEG_CACHE to a folder for the cache"):
        writable_cache(tmp_path / "file" / "exports")


def test_files_are_flushed_through_a_writable_handle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows refuses to flush a file that was opened for reading."""
    fcntl = pytest.importorskip("fcntl")
    flushed, fsync = [], os.fsync

    def as_on_windows(handle: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flushed.append(handle)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", as_on_windows)
    atomic_write(tmp_path / "a.txt", "new")
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "b").write_text("2")
        (folder / "c").write_text("3")
    assert len(flushed) == 3
    assert everything(tmp_path) == ["a.txt", "b", "c", "model"]


def test_a_file_system_without_permissions_is_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As shares and memory cards are that belong to another user, who alone may change modes."""

    def refused(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))

    monkeypatch.setattr(Path, "chmod", refused)
    atomic_write(tmp_path / "a.txt", "new")
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "b").write_text("2")
    assert everything(tmp_path) == ["a.txt", "b", "model"]
