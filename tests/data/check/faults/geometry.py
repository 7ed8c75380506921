"""Masks in the wrong place."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.data.check.corpus import Corpus, fault


@fault("size-mismatch", "error")
def mask_half_the_size(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels[::2, ::2], corpus.some(2))


@fault("transposed-mask", "error")
def mask_transposed(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels.T.copy(), corpus.some(2))


def _as_camera(corpus: Corpus, stem: str, orientation: int) -> None:
    """Store a picture as the sensor saw it, with the EXIF flag by which it is shown upright; its mask too."""
    undo = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[
        orientation
    ]
    exif = Image.Exif()
    exif[274] = orientation
    picture = Image.open(corpus.image(stem)).transpose(undo)
    corpus.image(stem).unlink()
    picture.save(corpus.images / f"{stem}.jpg", quality=92, exif=exif.tobytes())
    mask = Image.open(corpus.mask(stem)).transpose(undo)
    mask.save(corpus.mask(stem))


@fault("exif-unrotated-mask", "error")
def exif_turned_by_a_quarter(corpus: Corpus) -> None:
    for orientation, stem in zip((6, 8), corpus.some(2), strict=True):
        _as_camera(corpus, stem, orientation)


@fault("exif-unrotated-mask", "error")
def exif_turned_by_half(corpus: Corpus) -> None:
    for stem in corpus.some(5):
        _as_camera(corpus, stem, 3)


@fault("turned-mask", "error")
def masks_mirrored(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels[:, ::-1].copy(), corpus.some(6))


@fault("turned-mask", "error")
def masks_upside_down(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels[::-1].copy())


@fault("turned-mask", "note")
def a_mask_upside_down(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels[::-1].copy(), corpus.some(1))


@fault("shifted-mask", "note")
def a_mask_moved(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.roll(labels, (7, -11), (0, 1)), corpus.some(2))


@fault("shifted-mask", "warning")
def six_masks_moved(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.roll(labels, (7, -11), (0, 1)), corpus.some(6))


@fault("shifted-masks", "error")
def all_masks_moved(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.roll(labels, (-5, 8), (0, 1)))


@fault("shifted-masks", "error")
def all_masks_moved_a_little(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.roll(labels, 4, 1))


@fault("far-larger-than-crop", "note")
def pictures_far_larger_than_the_crop(corpus: Corpus) -> None:
    for stem in corpus.stems[6:-2]:
        corpus.image(stem).unlink()
        corpus.mask(stem).unlink()
    corpus.split(corpus.stems[:6], corpus.stems[-2:])
    for stem in [*corpus.stems[:6], *corpus.stems[-2:]]:
        for path in (corpus.image(stem), corpus.mask(stem)):
            Image.open(path).resize((1440, 1080), Image.Resampling.NEAREST).save(path, compress_level=1)
