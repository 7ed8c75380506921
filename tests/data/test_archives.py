"""Extraction: what is taken, what is refused, what happens when it is interrupted."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from refineseg.data.preparation.archives import Taken, extract
from refineseg.errors import InputError

FILES = {"set/images/a.png": b"picture a", "set/images/b.png": b"b" * 3000, "set/readme.txt": b"words"}


def make_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes] = FILES) -> Path:
    kind = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, kind) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pictures(_archive: str, member: str) -> str | None:
    return member.removeprefix("set/") if member.endswith(".png") else None


def anything(_archive: str, member: str) -> str | None:
    return member


def quiet(_done: int, _all: int, _what: str) -> None:
    pass


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


WANTED = {"images/a.png": b"picture a", "images/b.png": b"b" * 3000}


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz", "set.tgz", "set.tar.bz2", "set.tar.xz"])
def test_chosen_members_are_written(tmp_path: Path, name: str) -> None:
    archive = (make_zip if name.endswith(".zip") else make_tar)(tmp_path / name)
    archive.chmod(0o444)
    reports: list[tuple[int, int, str]] = []
    root = tmp_path / "root"
    taken = extract(archive, root, pictures, lambda *report: reports.append(report))
    assert taken == Taken(written=2, present=0, passed=1)
    assert tree(root) == WANTED
    size = archive.stat().st_size
    assert [what for _, _, what in reports] == ["a.png", "b.png", ""]
    assert all(0 <= done <= size == total for done, total, _ in reports)
    assert reports[-1][0] == size


def test_a_second_run_keeps_whole_files_and_mends_others(tmp_path: Path) -> None:
    archive, root = make_zip(tmp_path / "set.zip"), tmp_path / "root"
    extract(archive, root, pictures, quiet)
    kept = (root / "images/a.png").stat().st_mtime_ns
    (root / "images/b.png").write_bytes(b"half")
    assert extract(archive, root, pictures, quiet) == Taken(written=1, present=1, passed=1)
    assert (root / "images/a.png").stat().st_mtime_ns == kept
    assert tree(root) == WANTED


def test_an_interrupted_run_leaves_whole_files_only(tmp_path: Path) -> None:
    def stop(_done: int, _all: int, what: str) -> None:
        if what == "a.png":
            raise KeyboardInterrupt

    archive, root = make_tar(tmp_path / "set.tar"), tmp_path / "root"
    with pytest.raises(KeyboardInterrupt):
        extract(archive, root, pictures, stop)
    assert tree(root) == {"images/a.png": b"picture a"}
    assert extract(archive, root, pictures, quiet) == Taken(written=1, present=1, passed=1)
    assert tree(root) == WANTED


@pytest.mark.parametrize("cut", [0.5, 0.9])
@pytest.mark.parametrize("name", ["set.tar.gz", "set.tar", "set.zip"])
def test_a_truncated_archive_is_told_and_leaves_no_half_file(tmp_path: Path, name: str, cut: float) -> None:
    archive = (make_zip if name.endswith(".zip") else make_tar)(
        tmp_path / name, {f"set/{i}.png": bytes(range(256)) * 40 for i in range(3)}
    )
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * cut)] if name != "set.tar" else whole[: int(3 * 10240 * cut)])
    root = tmp_path / "root"
    with pytest.raises(InputError, match="complete"):
        extract(archive, root, pictures, quiet)
    assert set(tree(root).values()) <= {bytes(range(256)) * 40}


@pytest.mark.parametrize(
    "name", ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_that_point_outside_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    archive = {"zip": make_zip, "tar": make_tar}[kind](tmp_path / f"set.{kind}", {name: b"evil"})
    root = tmp_path / "deep" / "root"
    with pytest.raises(InputError, match="points outside"):
        extract(archive, root, anything, quiet)
    assert [path for path in tmp_path.rglob("*") if "evil" in path.name] == []


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as made:
        link = tarfile.TarInfo("images")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        made.addfile(link)
        info = tarfile.TarInfo("images/a.png")
        info.size = 1
        made.addfile(info, io.BytesIO(b"a"))
    root = tmp_path / "root"
    extract(archive, root, anything, quiet)
    assert list(outside.iterdir()) == []
    assert tree(root) == {"images/a.png": b"a"}


def test_a_plain_file_is_an_archive_of_itself(tmp_path: Path) -> None:
    plain = tmp_path / "splits.mat"
    plain.write_bytes(b"numbers")
    extract(plain, tmp_path / "root", anything, quiet)
    assert tree(tmp_path / "root") == {"splits.mat": b"numbers"}


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File not found"):
        extract(tmp_path / "nowhere.zip", tmp_path, anything, quiet)


def test_damage_in_the_middle_is_told_of_the_archive_and_not_of_the_output(tmp_path: Path) -> None:
    plain = make_tar(tmp_path / "set.tar", {"set/a.png": bytes(8000)}).read_bytes()
    archive = tmp_path / "set.tar.gz"
    archive.write_bytes(gzip.compress(plain[:4000]) + b"XX" + gzip.compress(plain[4000:]))
    with pytest.raises(InputError, match=r"set\.tar\.gz is damaged or incomplete"):
        extract(archive, tmp_path / "root", pictures, quiet)
    assert tree(tmp_path / "root") == {}
