"""Pictures on which an export is checked and calibrated: from a data set, or generated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib import cbook
from numpy.typing import NDArray
from PIL import Image, ImageOps

from refineseg.channels import Channels, Pixels
from refineseg.config import ModelConfig
from refineseg.data.dataset import Sample, SegmentationData, evenly_spaced
from refineseg.data.images import read_image
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.system.text import counted

CALIBRATED_ON = 300  # most calibration pictures, evenly spaced over the split; NNCF's default
PHOTOGRAPH = "grace_hopper.jpg"  # matplotlib's sample data; US Navy, public domain
COMPARED = 20  # most pictures of a data set that are compared


@dataclass(frozen=True)
class ExportPictures:
    """Pictures, and their source for the report."""

    source: str  # where the pictures come from, in words
    planes: tuple[NDArray[np.float32], ...]  # each CxHxW in [0, 1]


def data_pictures(data: SegmentationData) -> ExportPictures:
    """Up to ``COMPARED`` pictures, evenly spaced over ``val``, else ``train``, else ``test``."""
    split = next(split for split in ("val", "train", "test") if data.splits.get(split))
    chosen = evenly_spaced(data.split(split), COMPARED)
    planes = tuple(_read(data, sample) for sample in chosen)
    return ExportPictures(f"{counted(chosen, 'picture')} of {data.name} {split}", planes)


def generated_pictures(config: ModelConfig) -> ExportPictures:
    """A photograph that comes with matplotlib and textures of every grain; only textures for other channels."""
    texture = to_planes(probe_picture(480, 640, config.in_channels), None)
    if config.in_channels != 3:  # within two deviations of the mean, as a photograph's values are
        centre, width = (np.asarray(values, np.float32)[:, None, None] for values in (config.mean, config.std))
        return ExportPictures("textures", (centre + (4 * texture - 2) * width,))
    photograph = to_planes(read_image(cbook.get_sample_data(PHOTOGRAPH, asfileobj=False)), None)
    return ExportPictures(f"{PHOTOGRAPH} (matplotlib's, public domain) and textures", (photograph, texture))


def fitted(planes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """CxHxW cropped around the middle to the shape of ``height`` x ``width``, then resized to it."""
    shape = (width, height)
    resample = Image.Resampling.BILINEAR
    return np.stack([np.asarray(ImageOps.fit(Image.fromarray(plane), shape, resample)) for plane in planes])


def calibration_pictures(data: SegmentationData) -> tuple[str, list[Callable[[], NDArray[np.float32]]]]:
    """``train`` if there is one, else ``val``; and functions that read its pictures, each CxHxW."""
    split = "train" if data.splits.get("train") else "val"
    return split, [partial(_read, data, sample) for sample in evenly_spaced(data.split(split), CALIBRATED_ON)]


def _read(data: SegmentationData, sample: Sample) -> NDArray[np.float32]:
    return to_planes(data.read_picture(sample.image), data.channels)


def to_planes(pixels: Pixels, channels: Channels | None) -> NDArray[np.float32]:
    """HxWxC to CxHxW in [0, 1]."""
    unit = pixels.astype(np.float32) / np.float32(255) if channels is None else channels.to_unit(pixels)
    return np.ascontiguousarray(unit.transpose(2, 0, 1))
