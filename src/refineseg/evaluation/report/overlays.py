"""Pictures for reports: overlays of truth and prediction, errors, crops of suspects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.evaluation.measures.boundary import window
from refineseg.evaluation.measures.suspects import Suspect
from refineseg.html import smaller
from refineseg.labels import IGNORE, LabelMap, UInt8

PANEL, CROP = 480, 220  # longer side, pixels
OPACITY = 0.62
WRONG = (235, 40, 52)
MARK = (255, 0, 200)
SURROUND = 0.6  # margin of a crop, relative to the longer side of the suspect
LEAST = 64  # smallest side of a crop, in pixels of the picture


def painted(picture: UInt8, labels: UInt8, label_map: LabelMap) -> UInt8:
    """Labels HxW in their colours over the picture HxWx3; void keeps the picture, darkened."""
    weight = np.where(labels == IGNORE, 0.55, OPACITY)[..., None]
    return blend(picture, label_map.colorize(labels), weight)


def error_map(picture: UInt8, truth: UInt8, prediction: UInt8) -> UInt8:
    """The picture in grey, wrong pixels red, void dark."""
    grey = 70 + 0.65 * picture.mean(2, keepdims=True).repeat(3, 2)
    grey[truth == IGNORE] *= 0.45
    wrong = (truth != IGNORE) & (truth != prediction)
    return blend(grey, np.broadcast_to(np.array(WRONG), picture.shape), 0.8 * wrong[..., None])


def blend(below: NDArray[np.generic], above: NDArray[np.generic], weight: NDArray[np.float64]) -> UInt8:
    """``above`` over ``below`` with the given opacity."""
    mixed = np.asarray(below, np.float64) * (1 - weight) + np.asarray(above, np.float64) * weight
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def panels(picture: UInt8, truth: UInt8, prediction: UInt8, label_map: LabelMap) -> dict[str, UInt8]:
    """The four views of a picture, by title."""
    seen = np.where(truth == IGNORE, np.uint8(IGNORE), prediction)
    views = {
        "picture": picture,
        "truth": painted(picture, truth, label_map),
        "prediction": painted(picture, seen, label_map),
        "errors": error_map(picture, truth, prediction),
    }
    return {name: smaller(view, PANEL) for name, view in views.items()}


def suspect_views(picture: UInt8, truth: UInt8, suspect: Suspect, label_map: LabelMap) -> dict[str, UInt8]:
    """Crops around a suspect with its outline: the picture, and the picture with labels."""
    inside = np.zeros(truth.shape, np.bool_)
    top, left, bottom, right = suspect.box
    inside[top:bottom, left:right] = suspect.mask
    rows, columns = surroundings(suspect, truth.shape[0], truth.shape[1])
    cut, labels = picture[rows, columns], truth[rows, columns]
    views = {"picture": cut, "label": painted(cut, labels, label_map)}
    return {name: outlined(view, inside[rows, columns]) for name, view in views.items()}


def surroundings(suspect: Suspect, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a square around a suspect, shifted and clipped into the picture."""
    top, left, bottom, right = suspect.box
    side = round(max(LEAST, max(bottom - top, right - left) * (1 + 2 * SURROUND)))

    def span(low: int, high: int, limit: int) -> slice:
        length = min(side, limit)
        start = min(max(0, (low + high - length) // 2), limit - length)
        return slice(start, start + length)

    return span(top, bottom, height), span(left, right, width)


def outlined(picture: UInt8, region: NDArray[np.bool_]) -> UInt8:
    """A crop resized to CROP pixels, with the region's outline, two pixels wide."""
    height, width = picture.shape[:2]
    scale = CROP / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    shown = np.array(Image.fromarray(picture).resize(size, method))
    large = np.array(Image.fromarray(region.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0
    around = window(large.astype(np.uint8), 2, np.maximum, 0) > 0
    shown[around & ~large] = MARK
    return shown
