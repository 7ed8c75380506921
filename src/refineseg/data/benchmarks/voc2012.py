"""PASCAL VOC 2012 (Everingham et al.), with the additional masks of SBD (Hariharan et al., ICCV 2011)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from refineseg.colors import voc_palette
from refineseg.data import benchmark_files as files
from refineseg.data.benchmark import Benchmark, SubmissionFormat
from refineseg.data.dataset import SPLITS, SegmentationData
from refineseg.data.images import read_mask
from refineseg.errors import InputError
from refineseg.labels import IGNORE, LabelMap
from refineseg.system.matlab import integers, variable

NAMES = files.entries("""
background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog, horse,
motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
""")
LISTS = "ImageSets/Segmentation"
SBD_PLACES = ("SBD", "SBD/dataset", "benchmark_RELEASE/dataset", "dataset")


def label_map() -> LabelMap:
    """0 background to 20 tvmonitor, in VOC's palette; 255, the rim of objects, is void."""
    return LabelMap.from_names(NAMES, voc_palette(len(NAMES)), ignore=(IGNORE,))


def open_voc2012(root: Path) -> SegmentationData:
    """``VOCdevkit/VOC2012`` or the folder above; SBD, if there, as ``SBD/`` or ``benchmark_RELEASE/dataset``.

    Train is the list ``trainaug.txt`` if it exists; else, with SBD, VOC's train list and SBD's two lists without
    VOC's val pictures (10,582 pictures); else VOC's train list. Masks are taken from
    SegmentationClass, then SegmentationClassAug (PNG), then SBD's ``cls/*.mat``.
    """
    voc = files.need_folder(root, "VOC 2012", "VOCdevkit/VOC2012", "VOC2012", "JPEGImages")
    voc = root if voc.name == "JPEGImages" else voc
    lists = files.need_folder(voc, "VOC's split lists", LISTS)
    sbd = files.first_folder(root, *SBD_PLACES) or files.first_folder(voc, *SBD_PLACES)
    stems = {path.stem: files.listed_stems(path) for path in sorted(lists.glob("*.txt"))}
    if "trainaug" in stems:
        stems["train"] = stems["trainaug"]
    elif sbd is not None and "train" in stems and "val" in stems:
        added = [stem for name in ("train", "val") for stem in files.listed_stems(sbd / f"{name}.txt")]
        stems["train"] = sorted(({*stems["train"], *added}) - set(stems["val"]))
    images = files.by_stem(files.need_folder(voc, "VOC's pictures", "JPEGImages"))
    masks = _masks(voc, sbd)
    stems["test"] = [stem for stem in stems.get("test", ()) if stem in images]  # has an archive of its own
    splits = {split: files.pair(stems[split], images, masks, voc) for split in SPLITS if stems.get(split)}
    if not splits:
        raise InputError(f"no split lists in {lists}: expected train.txt and val.txt")
    files.need_masks(splits, f"{voc}/SegmentationClass, SegmentationClassAug or SBD's cls/", unlabelled="test")
    return SegmentationData("voc2012", root, label_map(), splits, read_raw=read_voc_mask)


def read_voc_mask(path: Path) -> NDArray[Any]:
    """A palette PNG by index, or ``GTcls.Segmentation`` of an SBD .mat file: HxW, 0..20 and 255."""
    if path.suffix != ".mat":
        return read_mask(path)
    return integers(variable(path, "GTcls").Segmentation, path)


def _masks(voc: Path, sbd: Path | None) -> dict[str, Path]:
    masks = files.by_stem(sbd / "cls", (".mat", ".png")) if sbd is not None and (sbd / "cls").is_dir() else {}
    for folder in ("SegmentationClassAug", "SegmentationClass"):  # VOC's own masks come first
        masks |= files.by_stem(files.first_folder(voc, folder))
    return masks


BENCHMARK = Benchmark(
    name="voc2012",
    open=open_voc2012,
    label_map=label_map,
    pairs={"train": (1464, 10582), "val": (1449,)},  # the larger one with SBD
    licence="PASCAL VOC 2012 and SBD: flickr's terms of use, research",
    archives="VOCtrainval_11-May-2012.tar, VOC2012test.tar; for SBD benchmark.tgz, SegmentationClassAug.zip",
    place=files.places(
        (r"VOC2012/(JPEGImages/[^/]+\.jpg)", r"VOCdevkit/VOC2012/\1"),
        (r"VOC2012/(SegmentationClass/[^/]+\.png)", r"VOCdevkit/VOC2012/\1"),
        (r"VOC2012/(ImageSets/Segmentation/[^/]+\.txt)", r"VOCdevkit/VOC2012/\1"),
        (rf"(SegmentationClassAug/{files.NAME}\.png)", r"VOCdevkit/VOC2012/\1"),
        (r"trainaug\.txt", r"VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt"),
        (r"benchmark_RELEASE/dataset/(cls/[^/]+\.mat|(?:train|val)\.txt)", r"SBD/\1"),
    ),
    aliases=("voc", "pascal-voc"),
    submission=SubmissionFormat(  # VOC devkit, section 9.2
        folder="results/VOC2012/Segmentation/comp6_{split}_cls",
        stem=r"(?P<id>\d{4}_\d{6})",
        values=tuple(range(21)),
        pictures={"train": 1464, "val": 1449, "test": 1456},
        palette=True,
        hint="255 is void, which a prediction cannot be",
    ),
    scoring={"mean_over": "all"},
)
