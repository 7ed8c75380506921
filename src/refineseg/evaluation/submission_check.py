"""What the benchmarks' servers take, and whether an archive is that.

- *voc2012*: results/VOC2012/Segmentation/comp6_SPLIT_cls/STEM.png, palette PNG of 0..20 (VOC devkit, section 9.2);
- *cityscapes*: CITY_SEQUENCE_FRAME*.png, 2048x1024, one channel of labelIds (cityscapesScripts);
- *ade20k*: ADE_SPLIT_NUMBER.png, one channel of 1..150 (scene parsing challenge).
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from refineseg.data.source import Sample, SegmentationData
from refineseg.errors import InputError
from refineseg.labels import UInt8, default_palette

LARGEST = 64 << 20  # bytes of one unpacked file; a mask of a benchmark is far below


@dataclass(frozen=True)
class Format:
    """What a server takes.

    Attributes:
        name: of the benchmark, and of its protocol.
        folder: in the archive, by split (``{split}``); empty for the root.
        stem: pattern of a file's stem; its group ``id`` names the picture.
        values: pixel values that are classes.
        pictures: of the official splits.
        size: width and height that every mask has; None for the picture's own.
        palette: whether masks are palette pictures with VOC's colours.
        hint: what odd values usually mean.
    """

    name: str
    folder: str
    stem: str
    values: tuple[int, ...]
    pictures: dict[str, int]
    size: tuple[int, int] | None = None
    palette: bool = False
    hint: str = ""

    def prefix(self, split: str) -> str:
        """The folder of a split."""
        return self.folder.format(split=split)

    def picture(self, stem: str) -> str | None:
        """The picture that a file's (or picture's) stem names; None if it names none."""
        match = re.fullmatch(self.stem, stem)
        return match["id"] if match else None


FORMATS = {
    item.name: item
    for item in (
        Format(
            name="voc2012",
            folder="results/VOC2012/Segmentation/comp6_{split}_cls",
            stem=r"(?P<id>\d{4}_\d{6})",
            values=tuple(range(21)),
            pictures={"train": 1464, "val": 1449, "test": 1456},
            palette=True,
            hint="255 is void, which a prediction cannot be",
        ),
        Format(
            name="cityscapes",
            folder="",
            stem=r"(?P<id>[a-z-]+_\d{6}_\d{6}).*",
            values=(7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33),
            pictures={"train": 2975, "val": 500, "test": 1525},
            size=(2048, 1024),
            hint="the server wants labelIds such as 7 for road, not train ids such as 0",
        ),
        Format(
            name="ade20k",
            folder="",
            stem=r"(?P<id>ADE_(train|val|test)_\d{8})",
            values=tuple(range(1, 151)),
            pictures={"train": 20210, "val": 2000, "test": 3352},
            hint="classes are 1..150, train ids plus 1",
        ),
    )
}


def find_format(name: str) -> Format:
    """The format of a benchmark. InputError with the known names if there is none."""
    if name not in FORMATS:
        raise InputError(f"expected a benchmark of {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]


def check_submission(
    name: str, path: str | Path, data: SegmentationData | None = None, *, split: str = "test"
) -> int:
    """Check names, number, sizes, values and palette of an archive as the server would, and more strictly.

    Args:
        name: of the benchmark.
        path: the archive.
        data: where the split is at hand, names and sizes are checked against it; else the official number is.
        split: that the archive is for.

    Returns:
        The number of pictures.

    Raises:
        InputError: the first thing that is wrong, with the file that it is in and what was expected.
    """
    form = find_format(name)
    with open_archive(path) as archive:
        entries = entries_by_picture(form, archive, split)
        samples = {picture_of(form, item): item for item in data.split(split)} if data else None
        check_set(form, set(entries), None if samples is None else set(samples), split)
        for picture, entry in entries.items():
            size = form.size
            if size is None and samples is not None and data is not None:
                size = size_of(samples[picture])
            read_entry(form, archive, entry, size)
    return len(entries)


def read_entry(
    form: Format, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, size: tuple[int, int] | None
) -> UInt8:
    """The values HxW of one mask, checked. ``size`` is width and height, None to take any."""
    name = entry.filename
    if entry.flag_bits & 1:
        raise InputError(f"expected files without a password, {name} has one")
    if entry.file_size > LARGEST:
        raise InputError(
            f"expected masks below {LARGEST >> 20} MiB, {name} unpacks to {entry.file_size >> 20} MiB"
        )
    try:
        content = archive.read(entry)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise InputError(f"cannot unpack {name}: {error}; write the archive again") from error
    except Exception as error:  # zlib.error and the like, which have no common base
        raise InputError(f"cannot unpack {name}, it is damaged: {error}; write the archive again") from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError ...
        raise InputError(f"cannot read {name} as a picture ({' '.join(str(error).split())[:100]})") from error
    if image.format != "PNG":
        raise InputError(f"expected PNG files, {name} is {image.format}: compression changes labels")
    wanted = "P" if form.palette else "L"
    if image.mode != wanted:
        kind = "a palette picture" if form.palette else "one channel of 8 bits"
        raise InputError(f"expected {kind} (mode {wanted}), {name} has mode {image.mode}")
    if size is not None and image.size != size:
        raise InputError(f"expected {size[0]}x{size[1]} pixels, {name} has {image.size[0]}x{image.size[1]}")
    values = np.array(image)
    odd = sorted(set(np.unique(values).tolist()) - set(form.values))
    if odd:
        shown = f"{odd[:8]}{' and more' if len(odd) > 8 else ''}"
        raise InputError(f"expected values of the {len(form.values)} classes, {name} holds {shown}: {form.hint}")
    if form.palette:
        _check_palette(name, image, int(values.max(initial=0)) + 1)
    return values


def _check_palette(name: str, image: Image.Image, used: int) -> None:
    colors = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)[:used]
    wanted = np.array(default_palette(used), np.uint8)
    if colors.shape != wanted.shape or (colors != wanted).any():
        raise InputError(f"expected VOC's palette (128, 0, 0 for class 1 ...), {name} has other colours")


def open_archive(path: str | Path) -> zipfile.ZipFile:
    """An archive for reading; InputError for anything else."""
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise InputError(f"expected a zip archive, found no file {path}") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"expected a zip archive, cannot read {path}: {error}") from error


def entries_by_picture(form: Format, archive: zipfile.ZipFile, split: str) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by picture: in the right folder, named right, each picture once."""
    entries: dict[str, zipfile.ZipInfo] = {}
    prefix = form.prefix(split)
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
            raise InputError(f"expected plain paths within the archive, got {entry.filename!r}")
        if entry.is_dir():
            continue
        if path.name.startswith(".") or "__MACOSX" in path.parts or path.suffix != ".png":
            raise InputError(f"expected .png files only, got {entry.filename}: leave other files out")
        if str(path.parent) != (prefix or "."):
            where = f"folder {prefix}" if prefix else "root of the archive"
            raise InputError(f"expected the masks in the {where}, got {entry.filename}")
        picture = form.picture(path.stem)
        if picture is None:
            raise InputError(f"expected names such as {form.stem} for {form.name}, got {path.name}")
        if picture in entries:
            raise InputError(
                f"expected one mask per picture, {picture} has {entries[picture].filename} and {entry.filename}"
            )
        entries[picture] = entry
    if not entries:
        raise InputError(f"expected masks of {form.name} in {archive.filename}, the archive has none")
    return entries


def check_set(form: Format, found: set[str], wanted: set[str] | None, split: str) -> None:
    """InputError unless every wanted picture, and no other, is there; None asks for the official number."""
    if wanted is None:
        if len(found) != form.pictures.get(split, len(found)):
            raise InputError(
                f"expected {form.pictures[split]} masks for {form.name} {split}, got {len(found)}; "
                "for part of a split give its pictures with --data"
            )
        return
    missing, unknown = sorted(wanted - found), sorted(found - wanted)
    if missing:
        raise InputError(f"expected a mask for every picture, {len(missing)} lack one, such as {missing[0]}")
    if unknown:
        raise InputError(f"expected pictures of {split} only, got {len(unknown)} others, such as {unknown[0]}")


def picture_of(form: Format, sample: Sample) -> str:
    """The benchmark's name of a sample's picture; InputError if its stem is not one."""
    picture = form.picture(sample.stem)
    if picture is None:
        raise InputError(f"expected pictures named as in {form.name} ({form.stem}), got {sample.stem}")
    return picture


def size_of(sample: Sample) -> tuple[int, int]:
    """Width and height of a picture, read from its head."""
    try:
        with Image.open(sample.image) as image:
            return image.size
    except OSError as error:
        raise InputError(f"cannot read {sample.image} as a picture: {error}") from error
