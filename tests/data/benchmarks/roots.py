"""Tiny benchmarks in their official layouts, made by numbers: noise for pictures, drawn values for masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from refineseg.colors import voc_palette

SIZE = (6, 8)


def picture(path: Path, size: tuple[int, int] = SIZE) -> None:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(str(path.name))).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(path)


def values(name: str, choices: Sequence[int], size: tuple[int, int] = SIZE) -> NDArray[np.uint16]:
    """Mask values drawn from ``choices`` by the name; every choice occurs if they fit."""
    draw = np.random.default_rng(sum(map(ord, name)))
    flat = draw.choice(np.array(choices, np.uint16), size[0] * size[1])
    flat[: min(len(choices), flat.size)] = choices[: flat.size]
    return np.asarray(draw.permutation(flat).reshape(size))


def mask(path: Path, array: NDArray[Any], palette: bool = False) -> None:
    """A PNG of 8 bits; with VOC's palette on request."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, np.uint8))
    if palette:
        image.putpalette(np.array(voc_palette(256), np.uint8).tobytes())
    image.save(path)


def listing(path: Path, lines: Sequence[str]) -> None:
    """A split list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def voc2012(
    root: Path, train: Sequence[str] = ("2007_000032", "2007_000039"), val: Sequence[str] = ("2007_000033",)
) -> Path:
    """VOCdevkit/VOC2012 with masks of all 21 values and 255."""
    voc = root / "VOCdevkit" / "VOC2012"
    for split, stems in (("train", train), ("val", val)):
        listing(voc / "ImageSets" / "Segmentation" / f"{split}.txt", stems)
        for stem in stems:
            picture(voc / "JPEGImages" / f"{stem}.jpg")
            mask(voc / "SegmentationClass" / f"{stem}.png", values(stem, [*range(21), 255]), palette=True)
    return root


def sbd(folder: Path, train: Sequence[str], val: Sequence[str]) -> Path:
    """SBD's lists and cls/*.mat (GTcls.Segmentation)."""
    (folder / "cls").mkdir(parents=True)
    for split, stems in (("train", train), ("val", val)):
        listing(folder / f"{split}.txt", stems)
        for stem in stems:
            truth = values(f"sbd {stem}", range(21)).astype(np.uint8)
            savemat(folder / "cls" / f"{stem}.mat", {"GTcls": {"Segmentation": truth, "CategoriesPresent": [1]}})
    return folder


def cityscapes(root: Path) -> Path:
    """Two cities, three splits; instance files beside the labelIds; the test server keeps its labels."""
    for split, city, frames in (("train", "aachen", 2), ("val", "lindau", 1), ("test", "berlin", 1)):
        for frame in range(frames):
            stem = f"{city}_{frame:06d}_000019"
            picture(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", (8, 16))
            if split == "test":
                continue
            truth = values(stem, [*range(34), 255], (8, 16))
            folder = root / "gtFine" / split / city
            mask(folder / f"{stem}_gtFine_labelIds.png", truth)
            Image.fromarray(truth * 1000).save(folder / f"{stem}_gtFine_instanceIds.png")
    return root


def ade20k(root: Path) -> Path:
    """ADEChallengeData2016 with masks 0..150."""
    for split, count in (("training", 2), ("validation", 1)):
        for number in range(1, count + 1):
            stem = f"ADE_{split[:5]}_{number:08d}"
            base = root / "ADEChallengeData2016"
            picture(base / "images" / split / f"{stem}.jpg", (13, 13))
            mask(base / "annotations" / split / f"{stem}.png", values(stem, range(151), (13, 13)))
    return root


def nyudv2(root: Path, numbers: Sequence[int] = (1, 2, 3), size: tuple[int, int] = (468, 625)) -> Path:
    """images/ and labels40/ with 0..40."""
    for number in numbers:
        picture(root / "images" / f"{number:06d}.png", size)
        mask(root / "labels40" / f"{number:06d}.png", values(str(number), range(41), size))
    return root


def nyudv2_mat(root: Path, count: int = 3) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """nyu_depth_v2_labeled.mat (v7.3), classMapping40.mat and splits.mat.

    Returns:
        Pictures Nx480x640x3 and masks Nx480x640 of 0..40, with the border still on.
    """
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(40)
    pictures = draw.integers(0, 256, (count, 480, 640, 3), np.uint8)
    names = draw.integers(0, 895, (count, 480, 640)).astype(np.uint16)
    classes = np.r_[1:41, draw.integers(1, 41, 894 - 40)].astype(np.uint8)
    with h5py.File(root / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = pictures.transpose(0, 3, 2, 1)  # MATLAB's 480x640x3xN, in reverse
        file["labels"] = names.transpose(0, 2, 1)
    savemat(root / "classMapping40.mat", {"mapClass": classes[None].astype(np.float64)})
    savemat(root / "splits.mat", {"trainNdxs": np.array([[1.0], [3.0]]), "testNdxs": np.array([[2.0]])})
    return pictures, np.r_[np.uint8(0), classes][names]


def sunrgbd(root: Path, numbers: Sequence[int] = (12, 5050, 5051, 10335), masked: bool = True) -> Path:
    """images/ and labels37/ of the given numbers."""
    for number in numbers:
        picture(root / "images" / f"img-{number:06d}.jpg")
        if masked:
            mask(root / "labels37" / f"img-{number:06d}.png", values(str(number), range(38)))
    return root


def pascal_context(root: Path, form: str) -> dict[str, NDArray[np.uint16]]:
    """VOC 2010's pictures and lists with masks as ``mat``, ``index`` or ``color``; returns the raw numbers."""
    voc = root / "VOCdevkit" / "VOC2010"
    truth = {}
    for split, stems in (("train", ("2008_000002", "2008_000003")), ("val", ("2008_000004",))):
        listing(voc / "ImageSets" / "Main" / f"{split}.txt", stems)
        for stem in stems:
            picture(voc / "JPEGImages" / f"{stem}.jpg", (21, 22))
            truth[stem] = values(stem, range(460) if form == "mat" else range(60), (21, 22))
            if form == "mat":
                (root / "trainval").mkdir(exist_ok=True)
                savemat(root / "trainval" / f"{stem}.mat", {"LabelMap": truth[stem].astype(np.float64)})
            elif form == "index":
                mask(root / "59_context_labels" / f"{stem}.png", truth[stem], palette=True)
            else:
                colors = np.array(voc_palette(60), np.uint8)[truth[stem]]
                mask(root / "masks" / f"{stem}.png", colors)
    picture(voc / "JPEGImages" / "2009_999999.jpg")  # VOC has more pictures than were annotated
    return truth


def person_part(root: Path) -> Path:
    """The published masks and lists."""
    for split, stems in (("train", ("2008_000003", "2008_000008")), ("val", ("2008_000026",))):
        lines = [f"/JPEGImages/{stem}.jpg /pascal_person_part_gt/{stem}.png" for stem in stems]
        listing(root / "pascal_person_part_trainval_list" / f"{split}.txt", lines)
        for stem in stems:
            picture(root / "JPEGImages" / f"{stem}.jpg")
            mask(root / "pascal_person_part_gt" / f"{stem}.png", values(stem, [*range(7), 255]), palette=True)
    return root


def pascal_part(
    path: Path, objects: Sequence[tuple[str, dict[str, NDArray[np.uint8]]]], size: tuple[int, int] = SIZE
) -> None:
    """A PASCAL-Part .mat file: for each object its class and masks by part name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = [("class", object), ("class_ind", object), ("mask", object), ("parts", object)]
    array = np.empty((1, len(objects)), kind)
    for index, (name, parts) in enumerate(objects):
        pieces = np.empty((1, len(parts)) if parts else (0, 0), [("part_name", object), ("mask", object)])
        for number, (part, shape) in enumerate(parts.items()):
            pieces[0, number] = (part, shape)
        array[0, index] = (name, 15.0, np.ones(size, np.uint8), pieces)
    savemat(path, {"anno": {"imname": path.stem, "objects": array}})


def camvid_original(root: Path) -> Path:
    """701_StillsRaw_full and LabeledApproved_full with a frame of each kind and all 32 colours."""
    from refineseg.data.benchmarks.camvid import ORIGINAL

    colors = [color for merged in ORIGINAL.values() for color in merged.values()] + [(0, 0, 0)]
    for stem in (
        "0001TP_006690",
        "0001TP_008550",
        "0006R0_f00930",
        "0016E5_07959",
        "0016E5_08161",
        "Seq05VD_f00000",
    ):
        picture(root / "701_StillsRaw_full" / f"{stem}.png")
        truth = np.array(colors, np.uint8)[values(stem, range(32))]
        mask(root / "LabeledApproved_full" / f"{stem}_L.png", truth)
    return root


def camvid_segnet(root: Path, counts: dict[str, int]) -> Path:
    """SegNet's layout; lists with paths that start elsewhere."""
    for split, count in counts.items():
        stems = [f"0001TP_{number:06d}" for number in range(count)]
        listing(
            root / f"{split}.txt",
            [f"/SegNet/CamVid/{split}/{s}.png /SegNet/CamVid/{split}annot/{s}.png" for s in stems],
        )
        for stem in stems:
            picture(root / split / f"{stem}.png")
            mask(root / f"{split}annot" / f"{stem}.png", values(stem, range(12)))
    return root
