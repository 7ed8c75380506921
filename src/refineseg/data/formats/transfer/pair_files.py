"""Writing of pictures and masks: copied, linked, or scaled down."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from PIL import Image

from refineseg.data.formats.format import Item, PictureSource, Shape
from refineseg.data.formats.parsing.find_pictures import SUFFIX_OF, check_size, picture_shape
from refineseg.data.images import SUFFIXES, nearest, write_mask
from refineseg.data.pictures.open_picture import read_picture
from refineseg.data.pictures.pillow import open_image
from refineseg.data.pictures.tiff_samples import is_scientific
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8
from refineseg.system.text import counted, unique_name

EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # PIL's modes that may be scaled down
QUALITY = 95  # of JPEGs that are written again
JPEG = (".jpg", ".jpeg")
LONGEST = 200  # bytes of a file name, below the limit of all file systems


class PairWriter:
    """Writes pairs to images/ and masks/ of a folder; ``link`` and ``max_side`` as in ImportOptions."""

    def __init__(self, folder: Path, label_map: LabelMap, link: bool, max_side: int | None) -> None:
        self.folder, self.label_map, self.link, self.max_side = folder, label_map, link, max_side
        self.scaled = self.unscaled = 0
        (folder / "images").mkdir()
        (folder / "masks").mkdir()

    def notes(self) -> list[str]:
        """Notes on pictures that were scaled down, or could not be."""
        notes = [f"scaled down {counted(self.scaled, 'picture')} to {self.max_side} pixels"] if self.scaled else []
        if self.unscaled:
            notes.append(f"did not scale down {counted(self.unscaled, 'larger picture')} of many channels or bits")
        return notes

    def checked(self, item: Item) -> tuple[Shape, UInt8]:
        """Size of the picture, and its labels; InputError if they do not match or cannot be read."""
        shape = picture_shape(item.image)
        labels = item.labels(shape)
        where = str(item.image) if isinstance(item.image, Path) else f"picture {item.name}"
        check_size((labels.shape[0], labels.shape[1]), shape, f"mask of {where}")
        return shape, labels

    def write(self, item: Item, name: str, shape: Shape, labels: UInt8) -> None:
        """Write a pair under a name."""
        suffix = _suffix(item.image)
        if self.max_side is not None and max(shape) > self.max_side:
            if _may_be_scaled(item.image):
                self.scaled += 1
                self._write_scaled(item, name, suffix, labels)
                return
            self.unscaled += 1
        write_mask(self.folder / "masks" / f"{name}.png", labels, self.label_map)
        target = self.folder / "images" / (name + suffix)
        if isinstance(item.image, Path):
            self._copy(item.image, target)
        else:
            target.write_bytes(item.image())

    def _write_scaled(self, item: Item, name: str, suffix: str, labels: UInt8) -> None:
        """The picture by antialiased resampling, the mask by nearest neighbour."""
        assert self.max_side is not None
        factor = self.max_side / max(labels.shape)
        height, width = (max(1, round(side * factor)) for side in labels.shape)
        write_mask(self.folder / "masks" / f"{name}.png", nearest(labels, (width, height)), self.label_map)
        pixels = read_picture(item.image if isinstance(item.image, Path) else item.image()).pixels
        small = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS)
        jpeg = suffix in JPEG
        target = self.folder / "images" / (name + (suffix if jpeg else ".png"))
        small.save(target, quality=QUALITY, subsampling=0)  # PNG ignores both

    def _copy(self, image: Path, target: Path) -> None:
        if self.link:
            try:
                os.link(image.resolve(), target)
                return
            except OSError:  # another disk, or a file system without links
                pass
        shutil.copyfile(image, target)


def _may_be_scaled(image: PictureSource) -> bool:
    if isinstance(image, Path) and is_scientific(image):
        return False
    with open_image(image if isinstance(image, Path) else image(), decode=False) as opened:
        return opened.mode in EIGHT_BITS


def _suffix(image: PictureSource) -> str:
    if isinstance(image, Path):
        suffix = image.suffix.lower()
    else:
        with open_image(image(), decode=False) as opened:
            suffix = SUFFIX_OF.get(opened.format or "", "")
    if suffix not in SUFFIXES:
        raise InputError(f"expected a picture of type {', '.join(sorted(SUFFIXES))}, got {image}")
    return suffix


def unique_names(names: Sequence[str]) -> list[str]:
    """File stems: the last part of each name if that is unique, else with its folders, else with a number.

    Blanks and characters that some systems refuse become ``_``; comparison ignores case.
    """
    short = [_plain(PurePosixPath(name).name) for name in names]
    often = Counter(name.lower() for name in short)
    taken: set[str] = set()
    chosen = []
    for name, stem in zip(names, short, strict=True):
        base = stem if often[stem.lower()] == 1 else _plain(name)
        chosen.append(unique_name(base, taken))
    return chosen


def _plain(name: str) -> str:
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    text = "".join(letter if letter.isalnum() or letter in "-_.+()" else "_" for letter in "_".join(parts))
    return text.lstrip(".")[-LONGEST // 4 :] if len(os.fsencode(text)) > LONGEST else text.lstrip(".") or "picture"
