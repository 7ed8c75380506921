"""PASCAL-Context (Mottaghi et al., CVPR 2014): its 59 most frequent classes and background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refineseg.colors import voc_palette
from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark
from refineseg.data.dataset import SegmentationData
from refineseg.data.images import read_mask
from refineseg.data.pictures.pillow import open_image
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelClass, LabelMap
from refineseg.system.matlab import integers, variable

# name and its number among the 459 names of the .mat files, in the order of the release's 59_labels.txt
CLASSES = files.entries("""
background 0, aeroplane 2, bicycle 23, bird 25, boat 31, bottle 34, bus 45, car 59, cat 65, chair 72, cow 98,
table 397, dog 113, horse 207, motorbike 258, person 284, pottedplant 308, sheep 347, sofa 368, train 416,
tvmonitor 427, bag 9, bed 18, bench 22, book 33, building 44, cabinet 46, ceiling 68, cloth 80, computer 85,
cup 104, door 115, fence 144, floor 158, flower 159, food 162, grass 187, ground 189, keyboard 220,
light 232, mountain 259, mouse 260, curtain 105, platform 296, sign 355, plate 295, road 324, rock 326,
shelves 349, sidewalk 354, sky 360, snow 366, bedclothes 19, track 415, tree 420, truck 424, wall 440,
water 445, window 454, wood 458
""")
NAMES = [entry.split()[0] for entry in CLASSES]
NUMBERS = [int(entry.split()[1]) for entry in CLASSES]
ALL_NUMBERS = 459
VOID_COLOR = (224, 224, 192)  # of 255 in VOC's palette
MASKS = ("masks", "59_context_labels", "SegmentationClassContext", "trainval")
LIST_FOLDERS = (
    ".",
    "ImageSets/SegmentationContext",
    "VOCdevkit/VOC2010/ImageSets/SegmentationContext",
    "VOCdevkit/VOC2010/ImageSets/Main",
    "VOC2010/ImageSets/Main",
    "ImageSets/Main",
)


def label_map(form: str = "index") -> LabelMap:
    """Background and 59 classes, colours by VOC's rule.

    ``form`` is that of the masks: ``index`` (PNG 0..59, 255 void), ``color`` (RGB PNG in VOC's colours), or
    ``mat`` (the release's .mat files; the 400 other of their 459 names are background).
    """
    colors = voc_palette(len(NAMES))
    if form == "color":
        classes = tuple(LabelClass(name, color, (color,)) for name, color in zip(NAMES, colors, strict=True))
        return LabelMap(classes, ignore=(VOID_COLOR,))
    if form == "mat":
        others = tuple(number for number in range(1, ALL_NUMBERS + 1) if number not in NUMBERS)
        raw = [(0, *others), *((number,) for number in NUMBERS[1:])]
        classes = tuple(LabelClass(*entry) for entry in zip(NAMES, colors, raw, strict=True))
        return LabelMap(classes, ignore=())
    if form != "index":
        raise InputError(f"expected PASCAL-Context's masks as index, color or mat, got {form!r}")
    return LabelMap.from_names(NAMES, colors, ignore=(IGNORE,))


def open_pascal_context(root: Path) -> SegmentationData:
    """Pictures of VOC 2010 (or ``images/``) and masks as .mat in ``trainval/``, or PNG in ``masks/``.

    Splits are VOC 2010's train and val lists (``train.txt`` and ``val.txt`` in ROOT, or
    VOCdevkit/VOC2010/ImageSets/Main); without them all masked pictures are the split ``all``.
    """
    splits, masks = files.open_masked(root, "PASCAL-Context", MASKS, LIST_FOLDERS)
    return SegmentationData(
        "pascal-context",
        root,
        label_map(form_of(next(iter(masks.values())))),
        splits,
        read_raw=read_context_mask,
    )


def form_of(mask: Path) -> str:
    """``mat``, ``color`` or ``index``, by looking at one mask."""
    if mask.suffix == ".mat":
        return "mat"
    try:
        with open_image(mask) as image:
            return "color" if image.mode in ("RGB", "RGBA") else "index"
    except OSError as error:
        raise InputError(f"cannot read {mask} as a mask ({error}): is it damaged?") from error


def read_context_mask(path: Path) -> NDArray[Any]:
    """A PNG, or the variable LabelMap of a .mat file: HxW, or HxWx3 for colours."""
    return integers(variable(path, "LabelMap"), path) if path.suffix == ".mat" else read_mask(path)


BENCHMARK = Benchmark(
    name="pascal-context",
    open=open_pascal_context,
    label_map=label_map,
    pairs={"train": (4998,), "val": (5105,)},
    licence="PASCAL VOC 2010 and PASCAL-Context: flickr's terms of use, research",
    archives="VOCtrainval_03-May-2010.tar, and trainval.tar.gz or 59_context_labels.tar.gz",
    place=files.places(
        *files.VOC2010,
        (rf"trainval/({files.NAME}\.mat)", r"trainval/\1"),
        (rf"59_context_labels/({files.NAME}\.png)", r"59_context_labels/\1"),
    ),
)
