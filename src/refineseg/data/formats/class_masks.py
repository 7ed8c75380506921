"""One mask for each class of a picture: masks/a_car.png, masks/car/a.png or masks/a/car.png.

Where masks of a picture overlap, the class that comes later in the labels file (or the alphabet) is on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from refineseg.data.formats.format import AnnotatedData, Format, ReadOptions, Shape, Unannotated
from refineseg.data.formats.parsing.areas import Annotated, Area, AreaReader
from refineseg.data.formats.parsing.class_names import clean
from refineseg.data.formats.parsing.find_pictures import check_size, named, split_in_path, walk_pictures
from refineseg.data.formats.parsing.label_files import find_labels
from refineseg.data.formats.parsing.layouts import MASK_ENDINGS, UNUSED_ENDINGS, Layout, find_layouts
from refineseg.data.formats.parsing.pairing import first_pair
from refineseg.data.formats.parsing.shapes import Region
from refineseg.data.images import MASK_SUFFIXES, read_mask
from refineseg.errors import InputError
from refineseg.system.text import counted

Named = tuple[str, Path]  # class and mask


def fits(src: Path) -> bool:
    """Folders of pictures and masks in which masks are named after a picture and a class."""
    layouts = find_layouts(src)
    if not layouts or first_pair(src) is not None:
        return False
    return any(masks for layout in layouts for masks in _masks_of(layout).values())


def read(src: Path, options: ReadOptions) -> AnnotatedData:
    """All pictures with a mask of any class."""
    layouts = find_layouts(src)
    folders = [folder for layout in layouts for folder in (src, layout.masks.parent, layout.masks)]
    found = AreaReader(src, replace(options, labels=options.labels or find_labels(*folders)))
    order = {name: index for index, name in enumerate(found.options.labels.names if found.options.labels else ())}
    unused: list[Path] = []
    unannotated: dict[Path, Unannotated] = {}
    for layout in layouts:
        matched = _masks_of(layout)
        taken = {path for entries in matched.values() for _, path in entries}
        masks = walk_pictures(layout.masks, MASK_SUFFIXES)
        unused += [path for path in masks if path not in taken and path not in matched]
        for image, entries in matched.items():
            relative = image.relative_to(src)
            name, split = str(relative.with_suffix("")), layout.split or split_in_path(relative)
            unannotated[image] = Unannotated(name, image, split)
            if entries:
                entries = sorted(entries, key=lambda entry: (order.get(entry[0], -1), entry[0]))
                found.annotated.append(Annotated(name, image, found.areas(entries, _area), split))
    if not found.annotated:
        raise InputError(f"expected masks called like a picture and a class, such as a_car.png, in {src}")
    notes = [f"left out {counted(unused, 'mask')} without a picture: {named(unused)}"] if unused else []
    annotated = {picture.image for picture in found.annotated}
    without = [picture for image, picture in unannotated.items() if image not in annotated]
    return found.source(notes=notes, unannotated=without)


def _masks_of(layout: Layout) -> dict[Path, list[Named]]:
    """Masks with their classes by picture."""
    images = walk_pictures(layout.images)
    masks = walk_pictures(layout.masks, MASK_SUFFIXES)
    longest_first = sorted(images, key=lambda path: -len(path.stem))
    stems = {path.stem: path for path in longest_first}
    found: dict[Path, list[Named]] = {image: [] for image in images}
    for mask in masks:
        folders = mask.relative_to(layout.masks).parts[:-1]
        if folders and mask.stem in stems and folders[-1] not in stems:
            found[stems[mask.stem]].append((clean(folders[-1]), mask))
        elif folders and folders[-1] in stems:
            found[stems[folders[-1]]].append((clean(mask.stem), mask))
        elif (owner := _owner(mask.stem, longest_first)) is not None:
            found[owner].append((clean(mask.stem[len(owner.stem) + 1 :]), mask))
    return found


def _owner(stem: str, images: Sequence[Path]) -> Path | None:
    """The picture whose name, ``_`` or ``-`` and a class make up the mask's name; the longest wins."""
    if any(stem.endswith(ending) for ending in (*MASK_ENDINGS, *UNUSED_ENDINGS)):
        return None
    return next((path for path in images if stem.startswith((f"{path.stem}_", f"{path.stem}-"))), None)


def _area(entry: Named) -> Area:
    label, mask = entry
    return Area(label, str(mask), partial(_region, mask))


def _region(mask: Path, shape: Shape) -> Region:
    """Pixels above half of white, which is 1, 255 or 65535 by the largest value."""
    raw = read_mask(mask)
    grey = raw.max(axis=2) if raw.ndim == 3 else raw
    check_size((grey.shape[0], grey.shape[1]), shape, str(mask))
    largest = int(grey.max(initial=0))
    white = 1 if largest <= 1 else 255 if largest <= 255 else 65535
    return np.asarray(grey > white / 2)


FORMAT = Format(
    name="class-masks",
    title="folders of pictures and a mask for each class",
    needs="a folder images/ and a folder masks/ with a_car.png, car/a.png or a/car.png for a.jpg",
    fits=fits,
    read=read,
    marks=("folder images", "folder masks"),
)
