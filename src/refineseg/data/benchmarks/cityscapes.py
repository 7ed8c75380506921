"""Cityscapes (Cordts et al., CVPR 2016): 19 of 34 classes are trained and scored."""

from __future__ import annotations

from pathlib import Path

from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark, SubmissionFormat
from refineseg.data.dataset import SPLITS, Sample, SegmentationData
from refineseg.errors import InputError
from refineseg.labels import LabelClass, LabelMap

# The groups that the benchmark scores too, with their classes: name, labelId (which the server takes), colour.
CLASSES = files.class_table("""
flat: road 7 128 64 128, sidewalk 8 244 35 232
construction: building 11 70 70 70, wall 12 102 102 156, fence 13 190 153 153
object: pole 17 153 153 153, traffic light 19 250 170 30, traffic sign 20 220 220 0
nature: vegetation 21 107 142 35, terrain 22 152 251 152
sky: sky 23 70 130 180
human: person 24 220 20 60, rider 25 255 0 0
vehicle: car 26 0 0 142, truck 27 0 0 70, bus 28 0 60 100, train 31 0 80 100,
  motorcycle 32 0 0 230, bicycle 33 119 11 32
""")
# unlabeled .. ground, parking, rail track, guard rail, bridge, tunnel, polegroup, caravan, trailer; the licence
# plate's -1 is 255 in a file of bytes.
IGNORED = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255)
IMAGE, LABELS = "_leftImg8bit.png", "_gtFine_labelIds.png"


def label_map() -> LabelMap:
    """The 19 evaluated classes by labelId; the other 15 labelIds are void."""
    classes = [
        LabelClass(name, (red, green, blue), (label_id,))
        for group in CLASSES.values()
        for name, (label_id, red, green, blue) in group.items()
    ]
    return LabelMap(tuple(classes), ignore=IGNORED)


def open_cityscapes(root: Path) -> SegmentationData:
    """``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and ``gtFine/SPLIT/CITY/*_gtFine_labelIds.png``.

    Instance, colour and polygon files of gtFine are not read. Stems are CITY_SEQUENCE_FRAME.
    """
    images = files.need_folder(root, "Cityscapes' pictures", "leftImg8bit")
    splits = {}
    for split in SPLITS:
        found = sorted((images / split).glob(f"*/*{IMAGE}"))
        if found:
            splits[split] = tuple(_sample(path, root / "gtFine" / split) for path in found)
    if not splits:
        raise InputError(f"no pictures in {images}: expected train/CITY/NAME{IMAGE}")
    files.need_masks(splits, f"{root}/gtFine (of gtFine_trainvaltest.zip)", unlabelled="test")
    return SegmentationData("cityscapes", root, label_map(), splits)


def _sample(image: Path, masks: Path) -> Sample:
    stem = image.name.removesuffix(IMAGE)
    mask = masks / image.parent.name / f"{stem}{LABELS}"
    return Sample(stem, image, mask if mask.is_file() else None)


BENCHMARK = Benchmark(
    name="cityscapes",
    open=open_cityscapes,
    label_map=label_map,
    pairs={"train": (2975,), "val": (500,), "test": (1525,)},
    licence="Cityscapes: non-commercial research",
    archives="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
    place=files.places(
        (rf"(leftImg8bit/(?:train|val|test)/{files.NAME}/{files.NAME}_leftImg8bit\.png)", r"\1"),
        (rf"(gtFine/(?:train|val|test)/{files.NAME}/{files.NAME}_gtFine_labelIds\.png)", r"\1"),
    ),
    submission=SubmissionFormat(  # cityscapesScripts
        folder="",
        stem=r"(?P<id>[a-z-]+_\d{6}_\d{6}).*",
        values=tuple(numbers[0] for group in CLASSES.values() for numbers in group.values()),
        pictures={"train": 2975, "val": 500, "test": 1525},
        size=(2048, 1024),
        hint="the server takes labelIds such as 7 for road, not train ids such as 0",
    ),
    scoring={"mean_over": "union", "categories": {name: list(group) for name, group in CLASSES.items()}},
)
