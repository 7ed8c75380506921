"""Values that mean something else."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.data.check.corpus import COLORS, HEIGHT, NAMES, WIDTH, Array, Corpus, fault, mask_at


@fault("unknown-values", "error")
def a_stray_value(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        labels[30:40, 30:50] = 77
        return labels

    corpus.each_mask(spoil, corpus.some(2))


@fault("off-by-one", "error")
def values_from_one(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels + 1)


@fault("off-by-one", "error")
def values_from_one_with_void(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        moved = labels + 1
        moved[:4] = 255
        return np.asarray(moved)

    corpus.each_mask(spoil)


@fault("off-by-one", "error")
def map_from_one(corpus: Corpus) -> None:
    listed = "".join(f"- {{name: {name}, raw: {index + 1}}}\n" for index, name in enumerate(NAMES))
    corpus.describe(f"classes:\n{listed}ignore: [255]\n")


@fault("off-by-one", "error")
def background_not_named(corpus: Corpus) -> None:
    corpus.describe(f"classes: [{', '.join(NAMES[1:])}]\nignore: [255]\n")


@fault("binary-0-255", "error")
def object_as_255(corpus: Corpus) -> None:
    corpus.describe("classes: [background, object]\nignore: [255]\n")
    corpus.each_mask(lambda labels: np.where(labels > 0, 255, 0).astype(np.uint8))


@fault("binary-0-255", "error")
def object_as_255_nothing_ignored(corpus: Corpus) -> None:
    corpus.describe("classes: [background, object]\nignore: []\n")
    corpus.each_mask(lambda labels: np.where(labels > 0, 255, 0).astype(np.uint8))


@fault("binary-0-255", "error")
def object_as_255_in_some(corpus: Corpus) -> None:
    corpus.describe("classes: [background, object]\nignore: [255]\n")
    corpus.each_mask(lambda labels: (labels > 0).astype(np.uint8))
    corpus.each_mask(lambda labels: labels * 255, corpus.some(3))


@fault("stretched-values", "error")
def values_stretched_for_viewing(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels * 85)


@fault("instance-ids", "error")
def instances_instead_of_classes(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.where(labels > 0, labels.astype(np.uint16) * 1000 + 7, 0).astype(np.uint16))


@fault("void-not-declared", "error")
def void_without_ignore(corpus: Corpus) -> None:
    corpus.describe(f"classes: [{', '.join(NAMES)}]\nignore: []\n")

    def spoil(labels: Array) -> Array:
        labels[:3] = 255
        return labels

    corpus.each_mask(spoil)


@fault("unpaired-sides", "warning")
def sides_without_mirror(corpus: Corpus) -> None:
    corpus.describe("classes: [background, left_box, Right_box, wedge]\nignore: [255]\n")


@fault("rgb-mask", "error")
def masks_in_colour(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: COLORS.astype(np.uint8)[labels])


@fault("rgb-mask", "error")
def masks_grey_as_rgb(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.repeat(labels[..., None], 3, axis=2), corpus.some(4))


@fault("index-mask", "error")
def map_by_colour(corpus: Corpus) -> None:
    listed = "".join(
        f"- {{name: {name}, raw: [{color}]}}\n"
        for name, color in zip(NAMES, COLORS.astype(int).tolist(), strict=True)
    )
    corpus.describe(f"classes:\n{listed}ignore: [[0, 0, 0]]\n")


@fault("jpeg-mask", "error")
def masks_as_jpeg(corpus: Corpus) -> None:
    for stem in corpus.some(4):
        labels = mask_at(corpus.mask(stem))
        corpus.mask(stem).unlink()
        Image.fromarray(labels * 60).save(corpus.masks / f"{stem}.jpg", quality=90)


@fault("jpeg-mask", "error")
def jpeg_under_the_name_of_png(corpus: Corpus) -> None:
    for stem in corpus.some(2):
        Image.fromarray(mask_at(corpus.mask(stem))).save(corpus.mask(stem), "JPEG", quality=95)


@fault("antialiased-mask", "warning")
def masks_resized_smoothly(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        small = Image.fromarray(labels[::2, ::2].copy())
        return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))

    corpus.each_mask(spoil)


@fault("antialiased-mask", "error")
def colour_masks_resized_smoothly(corpus: Corpus) -> None:
    listed = "".join(
        f"- {{name: {name}, raw: [{color}]}}\n"
        for name, color in zip(NAMES, COLORS.astype(int).tolist(), strict=True)
    )
    corpus.describe(f"classes:\n{listed}ignore: [[0, 0, 0]]\n")

    def spoil(labels: Array) -> Array:
        small = Image.fromarray(COLORS.astype(np.uint8)[labels[::2, ::2]])
        return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))

    corpus.each_mask(spoil)


@fault("photograph-as-mask", "error")
def folders_swapped(corpus: Corpus) -> None:
    corpus.images.rename(corpus.root / "other")
    corpus.masks.rename(corpus.images)
    (corpus.root / "other").rename(corpus.masks)


@fault("palettes-differ", "warning")
def palette_renumbered(corpus: Corpus) -> None:
    colors = COLORS.astype(np.uint8)
    swap = np.array([0, 3, 1, 2], np.uint8)
    odd = corpus.some(2)
    for stem in corpus.stems:
        labels = mask_at(corpus.mask(stem))
        image = Image.fromarray(swap[labels] if stem in odd else labels)
        image.putpalette((colors[np.argsort(swap)] if stem in odd else colors).tobytes())
        image.save(corpus.mask(stem))
