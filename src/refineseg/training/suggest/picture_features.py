"""Uncertainty of a model on an unlabelled picture, between which classes, and features of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from refineseg.data.images import as_picture
from refineseg.inference.array_ops import uncertainty
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result
from refineseg.labels import IGNORE
from refineseg.model.refinenet import RefineNet

EVERY = 4  # sampling distance in pixels: the stride of the network's scores
CLOSE = 0.2  # largest difference of the two highest probabilities of an unsure pixel
LONGEST = 320  # longer side in pixels of the picture for its features


@dataclass(frozen=True)
class PictureFeatures:
    """Uncertainty of a model on a picture, and the picture's feature."""

    path: Path  # its file
    uncertainty: float  # mean normalised entropy of the pixels, 0 to 1
    unsure: float  # share of pixels whose two most probable classes differ by less than 0.2
    pair: tuple[str, str] | None  # names of the two classes most often confused there; None if nothing is unsure
    feature: NDArray[np.float64]  # D values, similar for similar pictures


def picture_features(segmenter: Segmenter, path: Path) -> PictureFeatures:
    """Predict and measure a picture; InputError if it cannot be read."""
    result = segmenter.predict(path, probabilities=True, tile="auto")
    return PictureFeatures(path, *pixel_uncertainty(result), feature_of(segmenter, path))


def pixel_uncertainty(result: Result) -> tuple[float, float, tuple[str, str] | None]:
    """Mean entropy, unsure share and pair of classes of a result with probabilities."""
    assert result.probabilities is not None
    known = result.labels[::EVERY, ::EVERY] != IGNORE
    if not known.any():
        return 0.0, 0.0, None
    shares = result.probabilities[:, ::EVERY, ::EVERY]
    entropy = float(uncertainty(shares)[known].mean()) / 255
    pixels = shares[:, known].astype(np.float32)
    if len(pixels) < 2:
        return entropy, 0.0, None
    order = np.argpartition(pixels, -2, axis=0)[-2:]
    second, first = np.take_along_axis(pixels, order, axis=0)
    close = first - second < CLOSE
    if not close.any():
        return entropy, 0.0, None
    low, high = np.sort(order[:, close], axis=0)
    code = int(np.bincount(low * len(pixels) + high).argmax())
    names = result.class_names
    return entropy, float(close.mean()), (names[code // len(pixels)], names[code % len(pixels)])


def feature_of(segmenter: Segmenter, path: Path) -> NDArray[np.float64]:
    """Mean and deviation of the backbone's coarsest map."""
    channels, pixels = segmenter.card.channels, as_picture(path, segmenter.card.channels).pixels
    image = pixels / np.float32(255) if channels is None else channels.to_unit(pixels)
    return pooled(segmenter.model, np.asarray(image, np.float32))


@torch.inference_mode()
def pooled(network: RefineNet, image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Feature of a picture HxWxC in [0, 1], resized to a small size that needs no padding."""
    backbone = network.each_backbone()[0]
    weight = next(backbone.parameters())
    scale, unit = min(1.0, LONGEST / max(image.shape[:2])), max(32, backbone.multiple)
    size = [max(1, round(side * scale / unit)) * unit for side in image.shape[:2]]
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].to(weight.device)
    small = F.interpolate(tensor, size=size, mode="bilinear", antialias=True, align_corners=False)
    coarse = backbone.maps(((small - network.mean) / network.std).to(weight.dtype))[-1].float()
    found = torch.cat([coarse.mean((2, 3)), coarse.std((2, 3), unbiased=False)], dim=1)
    return found[0].double().cpu().numpy()
