"""Benchmarks that come as .mat files, turned into pictures, palette PNGs and split lists; what is there stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.benchmarks import nyudv2, person_part, sunrgbd
from refineseg.data.benchmarks.layout import first_file, first_folder, listed_stems
from refineseg.data.matlab import integers, open_mat73, variable
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.files import atomic_path, atomic_write

Step = Callable[[int, int, str], None]  # files done, all, what


def convert_nyudv2(root: Path, sources: Sequence[Path], step: Step) -> int:
    """``images/``, ``labels40/`` and the lists from nyu_depth_v2_labeled.mat; returns the number of new pairs."""
    labelled = _given(nyudv2.LABELLED, root, sources)
    if labelled is None:
        return 0
    mapping, split_file = _given(nyudv2.MAPPING, root, sources), _given(nyudv2.SPLIT_FILE, root, sources)
    if mapping is None or split_file is None:
        raise InputError(f"expected {nyudv2.MAPPING} and {nyudv2.SPLIT_FILE} with {labelled}: name them too")
    table = nyudv2.classes_of_names(mapping)
    new = 0
    with open_mat73(labelled) as file:
        pictures, labels = file["images"], file["labels"]
        for index in range(len(labels)):
            image, mask = (root / folder / f"{index + 1:06d}.png" for folder in ("images", "labels40"))
            if not mask.is_file():  # the mask is written last
                names = integers(labels[index], labelled).T
                _write_png(image, nyudv2.cut_border(np.asarray(pictures[index], np.uint8).transpose(2, 1, 0)))
                _write_mask(mask, nyudv2.cut_border(table[names]), nyudv2.label_map())
                new += 1
            step(index + 1, len(labels), mask.name)
    for split, numbers in nyudv2.official_split(split_file).items():
        atomic_write(root / f"{split}.txt", "".join(f"{number:06d}\n" for number in numbers))
    return new


def convert_sunrgbd(root: Path, sources: Sequence[Path], step: Step) -> int:
    """``images/`` and ``labels37/`` from SUNRGBD/ and the toolbox's two .mat files, in the toolbox's order."""
    meta = _given("SUNRGBDMeta.mat", root, sources)
    labels = _given("SUNRGBD2Dseg.mat", root, sources)
    if meta is None or labels is None:
        return 0
    pictures = [
        str(item.rgbpath).partition("SUNRGBD/")[2] for item in np.atleast_1d(variable(meta, "SUNRGBDMeta"))
    ]
    new = 0
    with open_mat73(labels) as file:
        references = file["SUNRGBD2Dseg"]["seglabel"]
        for index, picture in enumerate(pictures):
            source = root / "SUNRGBD" / picture
            stem = f"img-{index + 1:06d}"
            mask = root / "labels37" / f"{stem}.png"
            if not mask.is_file():
                if not source.is_file():
                    raise InputError(f"expected the picture {source}, found none: name SUNRGBD.zip too")
                with atomic_path(root / "images" / f"{stem}{source.suffix}") as temporary:
                    shutil.copyfile(source, temporary)
                _write_mask(mask, integers(file[references[index][0]], labels).T, sunrgbd.label_map())
                new += 1
            step(index + 1, len(pictures), mask.name)
    return new


def convert_person_part(root: Path, _sources: Sequence[Path], step: Step) -> int:
    """``masks/`` and the lists from PASCAL-Part's Annotations_Part.

    Train and val are VOC 2010's, of which the pictures that show parts of people are kept.
    """
    folder = root / "Annotations_Part"
    published = first_folder(root, *(name for name in person_part.MASKS if name not in ("masks", folder.name)))
    if not folder.is_dir() or published is not None:
        return 0
    lists = {
        split: first_file(root, f"VOCdevkit/VOC2010/ImageSets/Main/{split}.txt", f"ImageSets/Main/{split}.txt")
        for split in ("train", "val")
    }
    stems = {split: listed_stems(path) for split, path in lists.items() if path is not None}
    if len(stems) < len(lists):
        raise InputError(
            f"expected VOC 2010's ImageSets/Main/train.txt and val.txt in {root}: name its archive too"
        )
    done, new, total = 0, 0, sum(map(len, stems.values()))
    for split, listed in stems.items():
        kept = []
        for stem in listed:
            source, mask = folder / f"{stem}.mat", root / "masks" / f"{stem}.png"
            done += 1
            step(done, total, stem)
            if not mask.is_file() and source.is_file():
                merged = person_part.merge_parts(source)
                if merged is not None and merged.any():
                    _write_mask(mask, merged, person_part.label_map())
                    new += 1
            if mask.is_file():
                kept.append(stem)
        atomic_write(root / f"{split}.txt", "".join(f"{stem}\n" for stem in kept))
    return new


def _given(name: str, root: Path, sources: Sequence[Path]) -> Path | None:
    """A .mat file among those named on the command line, or under the root."""
    places = [
        *(path for path in sources if path.name == name),
        root / name,
        root / "SUNRGBDtoolbox/Metadata" / name,
    ]
    return next((path for path in places if path.is_file()), None)


def _write_mask(path: Path, raw: NDArray[Any], label_map: LabelMap) -> None:
    """Raw values 0..255 HxW as a palette PNG with the colours of their classes."""
    palette = np.zeros((256, 3), np.uint8)
    for item in label_map.classes:
        for value in item.raw:
            palette[value] = item.color
    _write_png(path, np.asarray(raw, np.uint8), palette)


def _write_png(path: Path, array: NDArray[Any], palette: NDArray[np.uint8] | None = None) -> None:
    image = Image.fromarray(np.ascontiguousarray(array))
    if palette is not None:
        image.putpalette(palette.tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
