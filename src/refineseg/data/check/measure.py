"""Looking at one pair of files: decode both once, keep a small record."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from refineseg.data.check.edges import Border, Floats, fit, gradient, working_size
from refineseg.data.check.facts import KEPT_VALUES, ImageFacts, MaskFacts, PairFacts, class_values, ignored_values
from refineseg.data.check.listing import Listing, Pair
from refineseg.data.images import read_image, read_mask
from refineseg.errors import InputError
from refineseg.labels import LabelMap, UInt8

ORIENTATION = 274  # EXIF tag
THUMB = 16
BLANK = 3  # grey levels between darkest and brightest of a blank picture


def look_at(pair: Pair, listing: Listing) -> tuple[PairFacts, Floats | None]:
    """Facts of a pair, and the surface of its fit (see ``edges``) where there is one. Never raises InputError."""
    image = mask = grey = labels = None
    image_error = mask_error = ""
    try:
        image, grey = look_at_image(pair.image, listing)
    except InputError as error:
        image_error = str(error)
    if pair.mask is not None:
        try:
            mask, labels = look_at_mask(pair.mask, listing)
        except InputError as error:
            mask_error = str(error)
    fitted = None
    if (
        image is not None
        and mask is not None
        and grey is not None
        and labels is not None
        and image.size == mask.size
    ):
        size = working_size(*image.size)
        fitted = fit(gradient(grey), nearest(labels, size), size[0] / image.size[0])
    facts = PairFacts(pair, image, mask, image_error, mask_error, fitted[0] if fitted else None)
    return facts, fitted[1] if fitted else None


# Pictures --------------------------------------------------------------------------------------------------


def look_at_image(path: Path, listing: Listing) -> tuple[ImageFacts, UInt8]:
    """Facts of a picture, and its grey picture at the working size. InputError where it cannot be read."""
    mode, orientation, stored = "", 1, (0, 0)
    if listing.read_picture is read_image:
        mode, orientation, stored = _header(path)
    pixels = listing.read_picture(path)
    size = (pixels.shape[1], pixels.shape[0])
    whole = Image.fromarray(listing.visible(pixels)).convert("L")
    low, high = whole.getextrema()
    grey = whole.resize(working_size(*size), Image.Resampling.BOX)
    facts = ImageFacts(
        size=size,
        stored=stored if mode else size,
        mode=mode,
        orientation=orientation,
        digest=_digest(pixels),
        thumb=np.asarray(grey.resize((THUMB, THUMB), Image.Resampling.BOX)),
        phash=perceptual_hash(grey),
        blank=float(high) - float(low) <= BLANK,  # type: ignore[arg-type]
    )
    return facts, np.asarray(grey)


def _header(path: Path) -> tuple[str, int, tuple[int, int]]:
    """Mode, EXIF orientation and stored size; nothing where the header cannot be read, as the reader will say."""
    try:
        with Image.open(path) as image:
            return image.mode, int(image.getexif().get(ORIENTATION, 1)), image.size
    except Exception:  # decoders raise OSError, ValueError, SyntaxError, struct.error ...
        return "", 1, (0, 0)


def perceptual_hash(grey: Image.Image) -> int:
    """64 bits: signs, about their median, of the 8x8 lowest cosine frequencies of the picture at 32x32."""
    small = np.asarray(grey.resize((32, 32), Image.Resampling.BOX), np.float64)
    basis = _cosines()
    low = (basis @ small @ basis.T)[:8, :8].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@cache
def _cosines() -> NDArray[np.float64]:
    """First 8 rows of the 32-point cosine transform (DCT-II), unnormalised."""
    frequency, place = np.arange(8)[:, None], np.arange(32)[None, :]
    return np.asarray(np.cos(math.pi * frequency * (2 * place + 1) / 64))


def _digest(array: NDArray[Any]) -> bytes:
    """Of shape, type and content."""
    made = hashlib.blake2b(f"{array.shape}{array.dtype}".encode(), digest_size=12)
    made.update(np.ascontiguousarray(array).data)
    return made.digest()


# Masks -----------------------------------------------------------------------------------------------------


def look_at_mask(path: Path, listing: Listing) -> tuple[MaskFacts, NDArray[Any]]:
    """Facts of a mask and its raw values HxW. InputError where it cannot be read."""
    mode = form = ""
    colors: NDArray[np.uint8] | None = None
    if listing.read_raw is read_mask:
        mode, form, colors = _mask_header(path)
    raw = listing.read_raw(path)
    rgb = raw.ndim == 3
    numbers = _pack(raw) if rgb else raw
    values, counts = count_values(numbers)
    order = np.argsort(-counts, kind="stable")[:KEPT_VALUES]
    kept = values[order]
    steps = raw.sum(axis=2, dtype=np.int32) if rgb else raw
    facts = MaskFacts(
        size=(raw.shape[1], raw.shape[0]),
        mode=mode,
        format=form,
        rgb=rgb,
        grey=rgb and bool((raw[..., 0] == raw[..., 1]).all() and (raw[..., 1] == raw[..., 2]).all()),
        values=kept,
        counts=counts[order],
        distinct=len(values),
        between=between(steps, *_known(numbers, values, listing.label_map)) if len(values) > 2 else 0.0,
        thin=thinness(numbers, listing.label_map),
        palette=colors[kept] if colors is not None and kept.max(initial=0) < len(colors) else None,
        digest=_digest(raw),
    )
    return facts, numbers


def _mask_header(path: Path) -> tuple[str, str, NDArray[np.uint8] | None]:
    """Mode, format and palette Nx3 of a mask file; nothing where the header cannot be read."""
    try:
        with Image.open(path) as image:
            palette = image.getpalette("RGB") if image.mode == "P" else None
            colors = np.array(palette, np.uint8).reshape(-1, 3) if palette else None
            return image.mode, image.format or "", colors
    except Exception:  # as for pictures; the reader will say what is wrong
        return "", "", None


def count_values(numbers: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values and their pixels, as ``numpy.unique``; by counting where they are small, which is much faster."""
    if numbers.dtype == np.uint8 or (numbers.dtype == np.uint16):
        counts = np.bincount(numbers.ravel())
        values = counts.nonzero()[0]
        return values, counts[values]
    values, found = np.unique(numbers, return_counts=True)
    return values.astype(np.int64), found.astype(np.int64)


def between(steps: NDArray[Any], void: Border | None = None, known: Border | None = None) -> float:
    """Share of borders that run over an in-between value: 0 for a mask as drawn, near 1 for a smoothed one.

    A border is a place whose two neighbours (left and right, or above and below) differ.

    Args:
        steps: HxW values.
        void: HxW, where ignored; a thin line of a class beside ignored pixels is no smoothing.
        known: HxW, where a class's value stands.
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
    """Where a mask is ignored, and where it holds a class; nothing to exempt where nothing is ignored."""
    ignored = ignored_values(label_map) & set(values.tolist())
    if not ignored:
        return None, None
    return np.isin(numbers, list(ignored)), np.isin(numbers, list(class_values(label_map)))


def thinness(numbers: NDArray[Any], label_map: LabelMap) -> float:
    """Share of labelled pixels with an ignored pixel within two; 0 where less than half of the mask is ignored."""
    void = np.isin(numbers, list(ignored_values(label_map)))
    if void.mean() < 0.5 or void.all():
        return 0.0
    wide = np.pad(void, 2)
    height, width = void.shape
    near = np.zeros_like(void)
    for row, column in ((0, 2), (4, 2), (2, 0), (2, 4), (1, 2), (3, 2), (2, 1), (2, 3)):
        near |= wide[row : row + height, column : column + width]
    return float(near[~void].mean())


def nearest(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Labels HxW at another width and height, by nearest neighbour."""
    height, width = labels.shape
    rows = (np.arange(size[1]) * 2 + 1) * height // (2 * size[1])
    columns = (np.arange(size[0]) * 2 + 1) * width // (2 * size[0])
    return labels[np.ix_(rows, columns)]


def _pack(raw: NDArray[Any]) -> NDArray[np.int64]:
    wide = raw.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
