"""SUN RGB-D (Song et al., CVPR 2015) with its 37 classes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refineseg.colors import voc_palette
from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark
from refineseg.data.dataset import SegmentationData
from refineseg.data.preparation.archives import FileProgress
from refineseg.errors import InputError
from refineseg.labels import LabelMap
from refineseg.system.files import atomic_path
from refineseg.system.matlab import integers, open_mat73, variable

NAMES = files.entries("""
wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, counter, blinds, desk,
shelves, curtain, dresser, pillow, mirror, floor mat, clothes, ceiling, books, fridge, tv, paper, towel,
shower curtain, box, whiteboard, person, night stand, toilet, sink, lamp, bathtub, bag
""")
TEST = 5050  # numbers 1..5050 of the toolbox's order are the test split, 5051..10335 the train split
TOTAL = 10335
LISTS = {"train": ("train.txt",), "val": ("val.txt", "test.txt")}


def label_map() -> LabelMap:
    """1 wall to 37 bag, colours by VOC's rule (the release has none); 0, unlabelled, is void."""
    return LabelMap.from_names(NAMES, voc_palette(len(NAMES) + 1)[1:], first=1, ignore=(0,))


def open_sunrgbd(root: Path) -> SegmentationData:
    """``images/`` and ``labels37/`` with files of one number, such as img-000012.jpg and img-000012.png.

    Splits by ``train.txt`` and ``val.txt`` (or ``test.txt``), else by the number in the name: 1 to 5050 is val
    (the official test split), 5051 to 10335 train. Without the folder of masks the pictures open unlabelled.
    """
    images = files.by_stem(files.need_folder(root, "SUN RGB-D's pictures", "images", "image"))
    masks_folder = files.first_folder(root, "labels37", "labels", "label37", "label", "masks")
    by_name = {_plain(stem): path for stem, path in files.by_stem(masks_folder).items()}
    masks = {stem: by_name[_plain(stem)] for stem in images if _plain(stem) in by_name}
    splits = files.listed_splits(root, LISTS, images, masks, official_split)
    if masks_folder is not None:
        files.need_masks(splits, str(masks_folder))
    return SegmentationData("sunrgbd", root, label_map(), splits)


def official_split(stem: str) -> str:
    """Official split of a picture by its number; ``all`` where the name has none."""
    found = re.search(r"(\d+)$", stem)
    if found is None or not 1 <= int(found[1]) <= TOTAL:
        return files.ALL
    return "val" if int(found[1]) <= TEST else "train"


def _plain(stem: str) -> str:
    """``img-000012`` and ``000012`` and ``12`` name the same picture."""
    return stem.removeprefix("img-").lstrip("0")


def _place(archive: str, member: str) -> str | None:
    """The two archives of pictures count from 1 each: those for training come after the 5,050 for testing."""
    found = re.search(r"img-(\d+)\.(jpg|png)$", member)
    if found:
        number = int(found[1]) + (TEST if "train_images" in f"{archive}/{member}" else 0)
        folder = "images" if found[2] == "jpg" else "labels37"
        return f"{folder}/img-{number:06d}.{found[2]}"
    return files.places(
        (r"SUNRGBD/(.+/image/[^/]+\.(?:jpg|png))", r"SUNRGBD/\1"),
        (r"(SUNRGBDMeta\.mat|SUNRGBD2Dseg\.mat)", r"SUNRGBDtoolbox/Metadata/\1"),
    )(archive, member)


def convert_sunrgbd(root: Path, sources: Sequence[Path], progress: FileProgress) -> int:
    """``images/`` and ``labels37/`` from SUNRGBD/ and the toolbox's two .mat files, in the toolbox's order."""
    meta = files.given_file("SUNRGBDMeta.mat", root, sources)
    labels = files.given_file("SUNRGBD2Dseg.mat", root, sources)
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
                    raise InputError(f"File not found: {source}; give SUNRGBD.zip too")
                with atomic_path(root / "images" / f"{stem}{source.suffix}") as temporary:
                    shutil.copyfile(source, temporary)
                files.write_png(mask, integers(file[references[index][0]], labels).T, label_map())
                new += 1
            progress(index + 1, len(pictures), mask.name)
    return new


BENCHMARK = Benchmark(
    name="sunrgbd",
    open=open_sunrgbd,
    label_map=label_map,
    pairs={"train": (TOTAL - TEST,), "val": (TEST,)},  # val is the official test split
    licence="SUN RGB-D: research",
    archives=(
        "SUNRGBD-train_images.tgz, SUNRGBD-test_images.tgz and sunrgbd_train_test_labels.tar.gz, or SUNRGBD.zip "
        "and SUNRGBDtoolbox.zip"
    ),
    place=_place,
    convert=convert_sunrgbd,
    aliases=("sun-rgbd",),
)
