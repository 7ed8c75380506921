"""CamVid (Brostow et al., 2009) in the layout and with the 11 classes of SegNet."""

from __future__ import annotations

from pathlib import Path

from refineseg.data.source import SPLITS, Sample, SegmentationData, folder_of_pictures, read_list
from refineseg.errors import InputError
from refineseg.labels import LabelClass, LabelMap

# Colours of the original 32-class release for the classes that SegNet's eleven stand for.
CLASSES = (
    ("Sky", (128, 128, 128)),
    ("Building", (128, 0, 0)),
    ("Pole", (192, 192, 128)),
    ("Road", (128, 64, 128)),
    ("Pavement", (0, 0, 192)),
    ("Tree", (128, 128, 0)),
    ("SignSymbol", (192, 128, 128)),
    ("Fence", (64, 64, 128)),
    ("Car", (64, 0, 128)),
    ("Pedestrian", (64, 64, 0)),
    ("Bicyclist", (0, 128, 192)),
)
VOID = 11
LICENCE = "CamVid (Brostow, Fauqueur, Cipolla 2009): research and education"


def label_map() -> LabelMap:
    """Sky to Bicyclist are 0..10, void is 11."""
    classes = tuple(LabelClass(name, color, (index,)) for index, (name, color) in enumerate(CLASSES))
    return LabelMap(classes, ignore=(VOID,))


def open_camvid(root: Path) -> SegmentationData:
    """``train/``, ``trainannot/`` and ``train.txt`` and so on; the lists' paths may start anywhere."""
    splits = {}
    for split in SPLITS:
        folder, masks, listed = root / split, root / f"{split}annot", root / f"{split}.txt"
        if not folder.is_dir():
            continue
        names = (
            [Path(line.split()[0]).name for line in read_list(listed)]
            if listed.is_file()
            else [path.name for path in folder_of_pictures(folder)]
        )
        splits[split] = tuple(Sample(Path(name).stem, folder / name, masks / name) for name in names)
    if not splits:
        raise InputError(
            f"expected CamVid in the SegNet layout (train/, trainannot/, train.txt ...) in {root}, found none"
        )
    return SegmentationData("camvid", root, label_map(), splits, LICENCE)
