"""What every reader of a foreign format gives: items with pictures and masks of train ids, and a label map."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from refineseg.data.images import SUFFIXES
from refineseg.data.tiff import is_scientific, tiff_shape
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

Shape = tuple[int, int]  # height, width
Picture = Path | Callable[[], bytes]  # a file, or what makes the bytes of one
EXIF_ORIENTATION = 0x0112
SUFFIX_OF = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"}
SPLIT_WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLIT_WORDS |= {"test": "test", "testing": "test"}


@dataclass(frozen=True)
class Item:
    """One picture with its annotation.

    Attributes:
        name: where the picture lies in the source, without suffix; folders are kept with ``/``.
        image: its file, or a function that gives the encoded bytes.
        labels: from the picture's (height, width) to HxW uint8 train ids; raises InputError.
        split: ``train``, ``val`` or ``test`` where the source says so.
    """

    name: str
    image: Picture
    labels: Callable[[Shape], UInt8]
    split: str | None = None


def picture_shape(image: Picture) -> Shape:
    """Height and width as seen, EXIF orientation applied; reads the header only (of TIFF of any channels too).

    Raises InputError for files that are missing or no picture.
    """
    if isinstance(image, Path) and is_scientific(image):
        return tiff_shape(image)
    source, name = (image, str(image)) if isinstance(image, Path) else (io.BytesIO(image()), "embedded picture")
    try:
        with Image.open(source) as opened:
            turned = opened.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            return (opened.width, opened.height) if turned else (opened.height, opened.width)
    except FileNotFoundError as error:
        raise InputError(f"expected a picture, found no file {name}") from error
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, DecompressionBombError ...
        raise InputError(f"cannot read {name} as a picture: is it damaged or another format?") from error


@dataclass(frozen=True)
class Source:
    """A data set in a foreign format, opened.

    Attributes:
        label_map: the classes; raw values equal train ids.
        items: pictures; masks are made when asked for, so that memory stays flat.
        notes: what was left out or decided, in plain words.
    """

    label_map: LabelMap
    items: Sequence[Item]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        labels: classes by name (or by value or colour, for masks); found in the source if None.
        images: folder with the pictures, where they are not beside the annotations.
        unlabelled: what pixels without annotation are, in formats that name objects: ``background`` or ``ignore``.
    """

    labels: LabelMap | None = None
    images: Path | None = None
    unlabelled: str = "background"

    def __post_init__(self) -> None:
        if self.unlabelled not in ("background", "ignore"):
            raise InputError(f"expected unlabelled pixels to be background or ignore, got {self.unlabelled!r}")
        if self.images is not None and not self.images.is_dir():
            raise InputError(f"expected a folder with the pictures, found none at {self.images}")


@dataclass(frozen=True)
class Format:
    """A foreign format: how it is called, recognised and read."""

    name: str
    title: str
    fits: Callable[[Path], bool]
    read: Callable[[Path, ReadOptions], Source]


def find_picture(name: str, folders: Sequence[Path], place: str) -> Path:
    """The file that an annotation names: below one of the folders, with its folders or without them.

    Raises InputError with the place of the name and the folders that were looked in.
    """
    wanted = Path(name.replace("\\", "/"))
    try:
        for candidate in [folder / part for part in (wanted, Path(wanted.name)) for folder in folders]:
            if candidate.suffix.lower() in SUFFIXES and candidate.is_file():
                return candidate
    except (OSError, ValueError) as error:  # names that no file can have
        raise InputError(f"{place}: expected the name of a picture, got {name[:80]!r}") from error
    looked = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise InputError(
        f"{place}: expected the picture {name[:200]!r} (one of {', '.join(sorted(SUFFIXES))}) in {looked}, "
        "found none; give the folder of the pictures with --images"
    )


def split_of(text: str) -> str | None:
    """The split that a file or folder name speaks of (``instances_train2017``, ``val``), or None."""
    words = "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()
    found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def check_size(declared: Shape, shape: Shape, place: str) -> None:
    """InputError if an annotation was made for a picture of another size."""
    if declared != shape:
        raise InputError(
            f"{place}: expected the picture's size {shape[1]}x{shape[0]}, got {declared[1]}x{declared[0]}; "
            "annotation and picture do not belong together, or the picture was resized or rotated later"
        )


def head(path: Path, size: int = 4096) -> str:
    """The beginning of a text file; empty if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size).decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    except OSError:
        return ""
