"""Pictures of a source: found by their names in annotations, and those without annotation."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from refineseg.data.formats.format import PictureSource, Shape, Unannotated
from refineseg.data.images import SUFFIXES
from refineseg.data.pictures.open_picture import is_picture
from refineseg.data.pictures.pillow import decoding, open_image
from refineseg.data.pictures.tiff_samples import is_scientific, tiff_shape
from refineseg.errors import InputError
from refineseg.system.text import composed, counted

EXIF_ORIENTATION = 0x0112
SUFFIX_OF = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif"}
SUFFIX_OF |= {"TIFF": ".tif", "AVIF": ".avif", "HEIF": ".heic", "PPM": ".ppm"}
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLIT_WORDS |= {"test": "test", "testing": "test"}
IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "JPEGImages", "leftImg8bit", "pictures", "photos", "rgb", "img_dir",
)  # fmt: skip
ANNOTATION_FOLDERS = ("annotations", "annotation", "ann", "labels", "json", "jsons", "xml", "xmls")
OTHER_PICTURES = frozenset({
    ".jp2", ".j2k", ".jxl", ".dng", ".raw", ".cr2", ".nef", ".arw",
    ".svg", ".psd", ".exr", ".hdr", ".tga", ".ico",
})  # fmt: skip
MOST_FILES = 200_000  # limit of a search for misplaced pictures


def picture_shape(image: PictureSource) -> Shape:
    """Height and width, EXIF orientation applied; reads the header only.

    Raises InputError for missing files and files that are not pictures.
    """
    if isinstance(image, Path) and is_scientific(image):
        return tiff_shape(image)
    source, name = (image, str(image)) if isinstance(image, Path) else (image(), "embedded picture")
    with decoding(name, "a picture"), open_image(source, decode=False) as opened:
        turned = opened.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
        return (opened.width, opened.height) if turned else (opened.height, opened.width)


def check_size(declared: Shape, shape: Shape, place: str) -> None:
    """InputError if an annotation states another size than its picture has."""
    if declared != shape:
        raise InputError(
            f"{place}: expected the picture's size {shape[1]}x{shape[0]}, got {declared[1]}x{declared[0]}; "
            "annotation and picture do not belong together, or the picture was resized or rotated later"
        )


def split_in_name(text: str) -> str | None:
    """The split in the name of a file or folder (``instances_train2017``, ``val``), or None."""
    words = "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()
    found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def split_in_path(path: Path | PurePosixPath) -> str | None:
    """The split in the name of the first folder of a relative path that has one."""
    return next((split for part in path.parts[:-1] if (split := split_in_name(part))), None)


def file_in(folders: Sequence[Path], name: str, place: str) -> Path:
    """The file of a name in the first folder that has it; InputError, with the place of the name, if none has."""
    relative = name.replace("\\", "/")
    try:
        found = next((folder / relative for folder in folders if (folder / relative).is_file()), None)
    except (OSError, ValueError):  # invalid file names
        found = None
    if found is None:
        raise InputError(f"{place}: expected the file {name[:200]!r} below {folders[0]}, found none")
    return found


def walk_pictures(root: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Pictures, or files with the given suffixes, below a folder by path, without hidden files and folders."""
    return [path for path in walk_files(root) if path.suffix.lower() in suffixes]


def walk_files(root: Path) -> list[Path]:
    """Files below a folder, sorted by path, without hidden ones; about MOST_FILES at most."""
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        found += [Path(folder) / name for name in files if not name.startswith(".")]
        if len(found) > MOST_FILES:
            break
    return sorted(found)


class Pictures:
    """The pictures named by the annotations of a source: in ``folders``, else anywhere in it.

    ``given``, the folder of --images, replaces all others.
    """

    def __init__(self, src: Path, folders: Iterable[Path], given: Path | None = None) -> None:
        self.given = given
        self.folders = [given] if given else list(dict.fromkeys(folders))
        folder = src if src.is_dir() else src.parent
        beside = src.is_file() and folder.name.lower() in ANNOTATION_FOLDERS
        self.root = given or (folder.parent if beside else folder)
        self.found: dict[Path, str | None] = {}
        self.elsewhere: set[Path] = set()

    def find(
        self, name: str, place: str, split: str | None = None, first: Sequence[Path] = (), stem: str | None = None
    ) -> Path:
        """The file of a picture, anywhere in the source, with or without its folders and suffix.

        The folders ``first`` are searched first; the split of the annotation resolves equal names in several
        splits; ``stem`` is another name without suffix, tried last. InputError for none, or several candidates.
        """
        asked = PurePosixPath(name.replace("\\", "/"))
        folders = [*([] if self.given else first), *self.folders]
        try:
            direct = self._direct(asked, folders)
            chosen = direct or self._searched(asked, place, split)
            if chosen is None and ("%" in name or "://" in name):  # a URL
                chosen = self._searched(PurePosixPath(unquote(urlsplit(name).path)), place, split)
            if chosen is None and stem is not None:
                chosen = self._searched(PurePosixPath(stem), place, split)
        except (OSError, ValueError) as error:  # invalid file names
            raise InputError(f"{place}: expected the name of a picture, got {name[:80]!r}") from error
        if chosen is None:
            looked = self.root if not folders or self.root in folders[0].parents else folders[0]
            raise InputError(
                f"{place}: expected the picture {name[:200]!r} in {looked} or below, found none; "
                "give the folder of the pictures with --images"
            )
        if direct is None and chosen.parent not in folders:
            self.elsewhere.add(chosen.parent)
        self.found[chosen] = split
        return chosen

    def _direct(self, name: PurePosixPath, folders: Sequence[Path]) -> Path | None:
        for part in (name, PurePosixPath(name.name)):
            for folder in folders:
                candidate = folder / part
                if candidate.suffix.lower() in SUFFIXES and candidate.is_file():
                    return candidate
        return None

    def _searched(self, name: PurePosixPath, place: str, split: str | None) -> Path | None:
        """The picture whose path ends like the name; any suffix if the name has none."""
        candidates = self._by_name.get(_key(name.name), [])
        if not candidates:
            whole = name.suffix.lower() in SUFFIXES
            candidates = [] if whole else self._by_stem.get(_key(name.name), [])
        if len(candidates) > 1:
            tails = [_common_tail(path, name) for path in candidates]
            candidates = [path for path, tail in zip(candidates, tails, strict=True) if tail == max(tails)]
        if len(candidates) > 1 and split is not None:
            same = [path for path in candidates if split_in_path(path.relative_to(self.root)) == split]
            candidates = same or candidates
        if len(candidates) > 1:
            shown = ", ".join(str(path) for path in candidates[:3])
            raise InputError(
                f"{place}: expected one picture {str(name)[:200]!r}, found {len(candidates)}: {shown}; "
                "say which with --images"
            )
        return candidates[0] if candidates else None

    @cached_property
    def _all(self) -> list[Path]:
        return walk_pictures(self.root)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _indexed(self._all, lambda path: path.name)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _indexed(self._all, lambda path: path.stem)

    def unannotated(self, other: Iterable[Path] = ()) -> list[Unannotated]:
        """Pictures without annotation in the folders of those found, or below; ``other`` files do not count."""
        roots = {path.parent for path in self.found}
        roots |= {folder for folder in self.folders if self.given or folder.name in IMAGE_FOLDERS}
        taken = {path.resolve() for path in [*self.found, *other]}
        seen: dict[Path, Unannotated] = {}
        for root in sorted(root for root in roots if root.is_dir()):
            for path in walk_pictures(root):
                if path.resolve() not in taken and path not in seen:
                    base = self.root if path.is_relative_to(self.root) else root
                    relative = path.relative_to(base)
                    seen[path] = Unannotated(str(relative.with_suffix("")), path, split_in_path(relative))
        return list(seen.values())

    def notes(self) -> list[str]:
        """Notes on misplaced pictures, and on files that are not read."""
        notes = [f"pictures were found in {folder}" for folder in sorted(self.elsewhere)]
        return notes + unread_note({path.parent for path in self.found})


def unread_note(folders: Iterable[Path]) -> list[str]:
    """A note on picture files of a type that is not read."""
    files = [path for folder in sorted(folders) for path in sorted(folder.iterdir()) if path.is_file()]
    shown = [path for path in files if not path.name.startswith(".")]
    unread = [
        path for path in shown if path.suffix.lower() in OTHER_PICTURES or (not path.suffix and is_picture(path))
    ]
    if not unread:
        return []
    return [f"left out {counted(unread, 'file')} of a type that is not read as a picture: {named(unread)}"]


def named(files: Sequence[Path | str], most: int = 5) -> str:
    """Names of the first files, for a note."""
    shown = ", ".join(file.name if isinstance(file, Path) else file for file in files[:most])
    return shown + (" ..." if len(files) > most else "")


def _key(name: str) -> str:
    return composed(name).casefold()


def _indexed(paths: Iterable[Path], name_of: Callable[[Path], str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in paths:
        found.setdefault(_key(name_of(path)), []).append(path)
    return found


def _common_tail(path: Path, name: PurePosixPath) -> int:
    """Folders that agree, counted from the end."""
    ours, theirs = (map(_key, reversed(one.parts[:-1])) for one in (path, name))
    return len(list(takewhile(bool, map(operator.eq, ours, theirs))))
