"""Measuring one mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.data.check.dataset_files import DatasetFiles
from refineseg.data.check.measurements.edges import Border
from refineseg.data.check.measurements.image import content_digest
from refineseg.data.check.measurements.measurement import (
    KEPT_VALUES,
    MaskMeasurement,
    class_values,
    ignored_values,
)
from refineseg.data.images import read_mask
from refineseg.data.pictures.pillow import open_image
from refineseg.labels import LabelMap
from refineseg.raw_values import pack_colors


def measure_mask(path: Path, files: DatasetFiles) -> tuple[MaskMeasurement, NDArray[Any]]:
    """Measurement of a mask, and its raw values HxW. InputError if it cannot be read."""
    form, colors = _header(path) if files.data.read_raw is read_mask else ("", None)
    raw = files.data.read_raw(path)
    rgb = raw.ndim == 3
    numbers = pack_colors(raw) if rgb else raw
    values, counts = count_values(numbers)
    order = np.argsort(-counts, kind="stable")[:KEPT_VALUES]
    kept = values[order]
    steps = raw.sum(axis=2, dtype=np.int32) if rgb else raw
    measured = MaskMeasurement(
        size=(raw.shape[1], raw.shape[0]),
        format=form,
        rgb=rgb,
        grey=rgb and bool((raw[..., 0] == raw[..., 1]).all() and (raw[..., 1] == raw[..., 2]).all()),
        values=kept,
        counts=counts[order],
        distinct=len(values),
        smoothed_share=smoothed_share(steps, *_known(numbers, values, files.data.label_map))
        if len(values) > 2
        else 0.0,
        thin=thinness(numbers, files.data.label_map),
        palette=colors[kept] if colors is not None and kept.max(initial=0) < len(colors) else None,
        digest=content_digest(raw),
    )
    return measured, numbers


def _header(path: Path) -> tuple[str, NDArray[np.uint8] | None]:
    """Format and palette Nx3 of a mask file; empty if the header cannot be read."""
    try:
        with open_image(path) as image:
            palette = image.getpalette("RGB") if image.mode == "P" else None
            colors = np.array(palette, np.uint8).reshape(-1, 3) if palette else None
            return image.format or "", colors
    except Exception:  # the reader reports what is wrong
        return "", None


def count_values(numbers: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values and their counts, as ``numpy.unique``; with ``bincount`` for small types, which is much faster."""
    if numbers.dtype == np.uint8 or (numbers.dtype == np.uint16):
        counts = np.bincount(numbers.ravel())
        values = counts.nonzero()[0]
        return values, counts[values]
    values, found = np.unique(numbers, return_counts=True)
    return values.astype(np.int64), found.astype(np.int64)


def smoothed_share(steps: NDArray[Any], void: Border | None = None, known: Border | None = None) -> float:
    """Share of borders with an in-between value: 0 for a mask HxW as drawn, near 1 for an antialiased one.

    A border is a pixel whose two neighbours (left and right, or above and below) differ. A thin line of a class
    (``known``, HxW) beside ignored pixels (``void``, HxW) is not smoothing.
    """
    wide = steps.astype(np.int32)
    found = total = 0
    for before, here, after in (
        (np.s_[:, :-2], np.s_[:, 1:-1], np.s_[:, 2:]),
        (np.s_[:-2], np.s_[1:-1], np.s_[2:]),
    ):
        low, high = np.minimum(wide[before], wide[after]), np.maximum(wide[before], wide[after])
        inside = (wide[here] > low) & (wide[here] < high)
        if void is not None and known is not None:
            inside &= ~(known[here] & (void[before] | void[after]))
        total += int((high > low).sum())
        found += int(inside.sum())
    return found / total if total else 0.0


def _known(
    numbers: NDArray[Any], values: NDArray[np.int64], label_map: LabelMap
) -> tuple[Border | None, Border | None]:
    """Ignored pixels and pixels of a class; None if nothing is ignored."""
    ignored = ignored_values(label_map) & set(values.tolist())
    if not ignored:
        return None, None
    return np.isin(numbers, list(ignored)), np.isin(numbers, list(class_values(label_map)))


def thinness(numbers: NDArray[Any], label_map: LabelMap) -> float:
    """Share of labelled pixels within two pixels of an ignored one; 0 if less than half of the mask is ignored."""
    void = np.isin(numbers, list(ignored_values(label_map)))
    if void.mean() < 0.5 or void.all():
        return 0.0
    wide = np.pad(void, 2)
    height, width = void.shape
    near = np.zeros_like(void)
    for row, column in ((0, 2), (4, 2), (2, 0), (2, 4), (1, 2), (3, 2), (2, 1), (2, 3)):
        near |= wide[row : row + height, column : column + width]
    return float(near[~void].mean())
