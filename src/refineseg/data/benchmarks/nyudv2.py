"""NYUDv2 (Silberman et al., ECCV 2012) with the 40 classes of Gupta et al. (CVPR 2013)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.colors import voc_palette
from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark
from refineseg.data.dataset import Sample, SegmentationData
from refineseg.data.images import read_image, read_mask
from refineseg.data.preparation.archives import FileProgress
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8
from refineseg.system.files import atomic_write
from refineseg.system.matlab import integers, open_mat73, read_mat, variable

NAMES = files.entries("""
wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, counter, blinds, desk,
shelves, curtain, dresser, pillow, mirror, floor mat, clothes, ceiling, books, refrigerator, television,
paper, towel, shower curtain, box, whiteboard, person, night stand, toilet, sink, lamp, bathtub, bag, other
structure, other furniture, other prop
""")
LISTS = {"train": ("train.txt",), "val": ("val.txt", "test.txt")}
LABELLED, MAPPING, SPLIT_FILE = "nyu_depth_v2_labeled.mat", "classMapping40.mat", "splits.mat"
FULL = (480, 640)
ROWS, COLUMNS = slice(6, 474), slice(7, 632)  # without the white border: 468x625


def label_map() -> LabelMap:
    """1 wall to 40 other prop, colours by VOC's rule (the release has none); 0, unlabelled, is void."""
    return LabelMap.from_names(NAMES, voc_palette(len(NAMES) + 1)[1:], first=1, ignore=(0,))


def open_nyudv2(root: Path) -> SegmentationData:
    """Folders ``images/`` and ``labels40/``, or ``nyu_depth_v2_labeled.mat`` as distributed.

    Folders: stems are the numbers 000001 to 001449; splits by ``train.txt`` and ``val.txt`` (or ``test.txt``), or
    by ``splits.mat``; without any, all pictures are the split ``all``. Pictures and masks of 480x640 lose their
    white border, those of 468x625 have lost it already.
    The .mat file needs ``classMapping40.mat`` (894 names to 40 classes) and ``splits.mat`` beside it.
    """
    labelled = root / LABELLED
    if files.first_folder(root, "images") is None and labelled.is_file():
        splits = _splits_of_mat(root)
    else:
        images = files.by_stem(files.need_folder(root, "NYUDv2's pictures", "images"))
        masks = files.by_stem(files.need_folder(root, "NYUDv2's masks", "labels40", "labels"))
        listed = files.first_file(root, *LISTS["train"], *LISTS["val"])
        numbers = official_split(root / SPLIT_FILE) if not listed and (root / SPLIT_FILE).is_file() else {}
        split_of = {f"{number:06d}": split for split, chosen in numbers.items() for number in chosen}
        splits = files.listed_splits(
            root, LISTS, images, masks, lambda stem: split_of.get(stem.zfill(6), files.ALL)
        )
    return SegmentationData(
        "nyudv2", root, label_map(), splits, read_raw=read_nyu_mask, read_picture=read_nyu_image
    )


def official_split(path: Path) -> dict[str, list[int]]:
    """Numbers from 1 of the pictures for training and of those for testing, from ``splits.mat``."""
    values = read_mat(path)
    if not {"trainNdxs", "testNdxs"} <= values.keys():
        raise InputError(f"expected trainNdxs and testNdxs in {path}, the official split of NYUDv2")
    return {
        split: [int(number) for number in np.atleast_1d(values[name])]
        for split, name in (("train", "trainNdxs"), ("val", "testNdxs"))
    }


def read_nyu_image(path: Path) -> UInt8:
    """A picture without its border: a file, or picture number N of the .mat file as ``.../FILE.mat/N``."""
    if path.parent.suffix != ".mat":
        return cut_border(read_image(path))
    with open_mat73(path.parent) as file:
        picture = _member(file, "images", path)  # 3xWxH: MATLAB's axes in reverse
    return cut_border(np.asarray(picture, np.uint8).transpose(2, 1, 0))


def read_nyu_mask(path: Path) -> NDArray[Any]:
    """A mask 0..40 without its border: a file, or mask number N of the .mat file as ``.../FILE.mat/N``."""
    if path.parent.suffix != ".mat":
        return cut_border(read_mask(path))
    with open_mat73(path.parent) as file:
        names = integers(_member(file, "labels", path), path).T  # WxH: 894 names, 0 unlabelled
    table = classes_of_names(path.parent.with_name(MAPPING))
    if names.max(initial=0) >= len(table):
        raise InputError(f"{path}: expected name numbers up to {len(table) - 1}, found {names.max()}")
    return cut_border(table[names])


def cut_border(array: NDArray[Any]) -> NDArray[Any]:
    """Rows 6..473 and columns 7..631 of a picture or mask of 480x640; others are returned as they are."""
    return np.ascontiguousarray(array[ROWS, COLUMNS]) if array.shape[:2] == FULL else array


def _splits_of_mat(root: Path) -> dict[str, tuple[Sample, ...]]:
    for name, what in ((MAPPING, "the 40 classes of the 894 names"), (SPLIT_FILE, "the official split")):
        if not (root / name).is_file():
            raise InputError(f"File not found: {root / name} ({what}), expected {name} beside {LABELLED}")
    numbers = official_split(root / SPLIT_FILE)
    for split, names in LISTS.items():
        listed = files.first_file(root, *names)
        if listed is not None:
            numbers[split] = [int(stem) for stem in files.listed_stems(listed)]
    return {
        split: tuple(
            Sample(f"{number:06d}", root / LABELLED / f"{number:06d}", root / LABELLED / f"{number:06d}")
            for number in chosen
        )
        for split, chosen in numbers.items()
    }


@lru_cache(maxsize=4)
def classes_of_names(path: Path) -> UInt8:
    """Class 1..40 of each of the 894 names, with 0 for 0; ``mapClass`` of Gupta's classMapping40.mat."""
    classes = integers(variable(path, "mapClass"), path).ravel()
    return np.concatenate([np.zeros(1, np.uint8), classes.astype(np.uint8)])


def _member(file: Any, name: str, path: Path) -> NDArray[Any]:
    number = int(path.name)
    if name not in file or not 1 <= number <= len(file[name]):
        raise InputError(f"{path.parent}: the variable {name!r} has no entry {number}")
    return np.asarray(file[name][number - 1])


def convert_nyudv2(root: Path, sources: Sequence[Path], progress: FileProgress) -> int:
    """``images/``, ``labels40/`` and the lists from nyu_depth_v2_labeled.mat; returns the number of new pairs."""
    labelled = files.given_file(LABELLED, root, sources)
    if labelled is None:
        return 0
    mapping, split_file = files.given_file(MAPPING, root, sources), files.given_file(SPLIT_FILE, root, sources)
    if mapping is None or split_file is None:
        raise InputError(f"expected {MAPPING} and {SPLIT_FILE} with {labelled}: name them too")
    table = classes_of_names(mapping)
    new = 0
    with open_mat73(labelled) as file:
        pictures, labels = file["images"], file["labels"]
        for index in range(len(labels)):
            image, mask = (root / folder / f"{index + 1:06d}.png" for folder in ("images", "labels40"))
            if not mask.is_file():  # the mask is written last
                names = integers(labels[index], labelled).T
                files.write_png(image, cut_border(np.asarray(pictures[index]).transpose(2, 1, 0)))
                files.write_png(mask, cut_border(table[names]), label_map())
                new += 1
            progress(index + 1, len(labels), mask.name)
    for split, numbers in official_split(split_file).items():
        atomic_write(root / f"{split}.txt", "".join(f"{number:06d}\n" for number in numbers))
    return new


BENCHMARK = Benchmark(
    name="nyudv2",
    open=open_nyudv2,
    label_map=label_map,
    pairs={"train": (795,), "val": (654,)},  # val is the official test split
    licence="NYU Depth V2: research",
    archives=(
        "nyu_depth_v2_labeled.mat with classMapping40.mat and splits.mat, or an archive of images/ and labels40/"
    ),
    place=files.places(
        (rf"(images/{files.NAME}\.png)", r"\1"),
        (rf"(labels40/{files.NAME}\.png)", r"\1"),
        (r"((?:train|val|test)\.txt|splits\.mat|classMapping40\.mat)", r"\1"),
    ),
    convert=convert_nyudv2,
    aliases=("nyud", "nyu-depth-v2"),
)
