"""PASCAL Person-Part: the people of PASCAL-Part (Chen et al., CVPR 2014) with six parts, after Chen et al. 2016.

None of the seven classes is left or right, so that a flipped picture needs no swap.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.colors import voc_palette
from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark
from refineseg.data.dataset import SegmentationData
from refineseg.data.images import read_mask
from refineseg.data.preparation.archives import FileProgress
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelMap, UInt8
from refineseg.system.files import atomic_write
from refineseg.system.matlab import variable

NAMES = ("background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs")
# PASCAL-Part's names of a person's parts (l and r stand for left and right) to the train id.
PARTS = {
    name: train_id
    for train_id, names in enumerate(
        (
            "",
            "head leye reye lear rear lebrow rebrow nose mouth hair",
            "torso neck",
            "luarm ruarm",
            "llarm rlarm lhand rhand",
            "luleg ruleg",
            "llleg rlleg lfoot rfoot",
        )
    )
    for name in names.split()
}
MASKS = (
    "masks",
    "pascal_person_part_gt",
    "pascal_person_part/pascal_person_part_gt",
    "SegmentationPart",
    "Annotations_Part",
)
LIST_FOLDERS = (
    ".",
    "pascal_person_part_trainval_list",
    "pascal_person_part/pascal_person_part_trainval_list",
    "list",
)


def label_map() -> LabelMap:
    """0 background, head, torso, upper arms, lower arms, upper legs, 6 lower legs in VOC's colours; 255 void."""
    return LabelMap.from_names(NAMES, voc_palette(len(NAMES)), ignore=(IGNORE,))


def open_person_part(root: Path) -> SegmentationData:
    """Pictures of VOC 2010 (or ``images/``) and the published masks, or PASCAL-Part's ``Annotations_Part/*.mat``.

    Splits are the published lists (``train.txt`` and ``val.txt`` in ROOT or in pascal_person_part_trainval_list);
    without them all masked pictures are the split ``all``.
    """
    splits, _ = files.open_masked(root, "Person-Part", MASKS, LIST_FOLDERS)
    return SegmentationData("person-part", root, label_map(), splits, read_raw=read_person_mask)


def read_person_mask(path: Path) -> NDArray[Any]:
    """A PNG, or the parts of all people in a PASCAL-Part .mat file merged: HxW 0..6."""
    if path.suffix != ".mat":
        return read_mask(path)
    merged = merge_parts(path)
    if merged is None:
        raise InputError(f"{path} has no object")
    return merged


def merge_parts(path: Path) -> UInt8 | None:
    """PASCAL-Part's struct ``anno`` to train ids HxW; None for a file without objects.

    Later objects and parts lie over earlier ones; a person's pixels outside every part stay background.
    """
    objects = np.atleast_1d(variable(path, "anno").objects)
    merged: UInt8 | None = None
    for item in objects:
        if merged is None:
            merged = np.zeros(item.mask.shape, np.uint8)
        if str(getattr(item, "class")) != "person":
            continue
        for part in np.atleast_1d(item.parts):
            if str(part.part_name) not in PARTS:
                raise InputError(f"{path}: expected a part of {', '.join(PARTS)}, got {part.part_name!s}")
            merged[part.mask > 0] = PARTS[str(part.part_name)]
    return merged


def convert_person_part(root: Path, _sources: Sequence[Path], progress: FileProgress) -> int:
    """``masks/`` and the lists from PASCAL-Part's Annotations_Part.

    Train and val are VOC 2010's, of which the pictures that show parts of people are kept.
    """
    folder = root / "Annotations_Part"
    published = files.first_folder(root, *(name for name in MASKS if name not in ("masks", folder.name)))
    if not folder.is_dir() or published is not None:
        return 0
    lists = {
        split: files.first_file(
            root, f"VOCdevkit/VOC2010/ImageSets/Main/{split}.txt", f"ImageSets/Main/{split}.txt"
        )
        for split in ("train", "val")
    }
    stems = {split: files.listed_stems(path) for split, path in lists.items() if path is not None}
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
            progress(done, total, stem)
            if not mask.is_file() and source.is_file():
                merged = merge_parts(source)
                if merged is not None and merged.any():
                    files.write_png(mask, merged, label_map())
                    new += 1
            if mask.is_file():
                kept.append(stem)
        atomic_write(root / f"{split}.txt", "".join(f"{stem}\n" for stem in kept))
    return new


BENCHMARK = Benchmark(
    name="person-part",
    open=open_person_part,
    label_map=label_map,
    # The paper counts 1,717 and 1,818; the released lists have one fewer each.
    pairs={"train": (1717, 1716), "val": (1818, 1817)},
    licence="PASCAL VOC 2010 and PASCAL-Part: flickr's terms of use, research",
    archives="VOCtrainval_03-May-2010.tar, and pascal_person_part.zip or PASCAL-Part's trainval.tar.gz",
    place=files.places(
        *files.VOC2010,
        (rf"(pascal_person_part_gt/{files.NAME}\.png)", r"\1"),
        (r"(pascal_person_part_trainval_list/[^/]+\.txt)", r"\1"),
        (rf"(Annotations_Part/{files.NAME}\.mat)", r"\1"),
    ),
    convert=convert_person_part,
)
