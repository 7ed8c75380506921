"""The foreign formats by name, and which of them a file or folder is in."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.formats import (
    coco,
    cvat,
    huggingface,
    labelme,
    labelstudio,
    pairs_list,
    palette,
    rgb,
    tiff,
)
from refineseg.data.formats.base import Format
from refineseg.errors import InputError

FORMATS = {
    item.name: item
    for item in (
        Format("list", "CSV or text list of picture,mask", pairs_list.fits, pairs_list.read),
        Format("coco", "COCO json", coco.fits, coco.read),
        Format("labelme", "LabelMe json folder", labelme.fits, labelme.read),
        Format("cvat", "CVAT for images 1.1", cvat.fits, cvat.read),
        Format("labelstudio", "Label Studio json export", labelstudio.fits, labelstudio.read),
        Format("palette", "folders of pictures and masks of numbers", palette.fits, palette.read),
        Format("rgb", "folders of pictures and colour masks", rgb.fits, rgb.read),
        Format("tiff", "folders of TIFF with many channels or bits, and masks", tiff.fits, tiff.read),
        Format("huggingface", "Hugging Face datasets folder (parquet)", huggingface.fits, huggingface.read),
    )
}


def detect(src: str | Path) -> Format:
    """The format of a file or folder, by what is in it.

    Raises:
        InputError: nothing there, or none or several of the formats fit.
    """
    path = Path(src)
    if not path.exists():
        raise InputError(f"expected a data set to import, found nothing at {path}")
    found = [item for item in FORMATS.values() if item.fits(path)]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(item.name for item in found)
        raise InputError(f"{path} can be read as {names}: say which with --format, or give the annotation file")
    known = "; ".join(f"{item.name} ({item.title})" for item in FORMATS.values())
    raise InputError(f"cannot tell the format of {path}: expected one of {known}; say which with --format")


def format_of(name: str | None, src: str | Path) -> Format:
    """The format of that name, or the detected one. InputError for unknown names."""
    if name is None:
        return detect(src)
    if name not in FORMATS:
        raise InputError(f"expected a format of {', '.join(FORMATS)}, got {name!r}")
    if not Path(src).exists():
        raise InputError(f"expected a data set to import, found nothing at {src}")
    return FORMATS[name]
