"""A small clean data set made by a script, and ways to spoil it, each with the kind of finding it should give."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 120, 160
NAMES = ("background", "box", "disc", "wedge")
COLORS = np.array([[96, 120, 140], [196, 72, 56], [72, 168, 88], [208, 180, 64]], np.float64)
TRAIN, VAL = 20, 5
Array = NDArray[Any]


def scene(rng: np.random.Generator, height: int = HEIGHT, width: int = WIDTH) -> tuple[Array, Array]:
    """A picture HxWx3 of coloured shapes on a shaded ground, with noise, and its labels HxW."""
    drawn = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(drawn)
    for label in (1, 2, 3, *rng.integers(1, 4, 2)):
        x, y = rng.uniform(0.1, 0.7) * width, rng.uniform(0.1, 0.7) * height
        w, h = rng.uniform(0.15, 0.35, 2) * (width, height)
        if label == 1:
            pen.rectangle((x, y, x + w, y + h), fill=1)
        elif label == 2:
            pen.ellipse((x, y, x + w, y + h), fill=2)
        else:
            pen.polygon([(x, y + h), (x + w, y + h), (x + w * rng.uniform(0.2, 0.8), y)], fill=3)
    labels = np.asarray(drawn)
    shade = np.linspace(rng.uniform(-30, 30), rng.uniform(-30, 30), width)[None, :, None]
    ripple = 8 * np.sin(np.arange(height) * rng.uniform(0.1, 0.4))[:, None, None]
    tint = COLORS + rng.uniform(-20, 20, COLORS.shape)
    picture = tint[labels] + shade + ripple + rng.normal(0, 6, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8), labels.copy()


def save_mask(path: Path, labels: Array) -> None:
    Image.fromarray(labels).save(path)


def mask_at(path: Path) -> Array:
    return np.asarray(Image.open(path)).copy()


@cache
def _files(seed: int, height: int, width: int) -> tuple[tuple[bytes, bytes], ...]:
    """Picture and mask of every scene as PNG files."""
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, height, width) for _ in range(TRAIN + VAL)]
    return tuple((_png(picture), _png(labels)) for picture, labels in scenes)


def _png(array: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


class Corpus:
    """A clean set of TRAIN + VAL pairs under ``root``, and handles to spoil it."""

    def __init__(self, root: Path, seed: int, height: int = HEIGHT, width: int = WIDTH) -> None:
        self.root, self.rng = root, np.random.default_rng([seed, 1])
        self.images, self.masks = root / "images", root / "masks"
        self.images.mkdir(parents=True)
        self.masks.mkdir()
        self.stems = [f"view{index:03}" for index in range(TRAIN + VAL)]
        for stem, (picture, labels) in zip(self.stems, _files(seed, height, width), strict=True):
            self.image(stem).write_bytes(picture)
            self.mask(stem).write_bytes(labels)
        self.describe()
        self.split(self.stems[:TRAIN], self.stems[TRAIN:])

    @property
    def spec(self) -> str:
        return f"folder:{self.root}"

    def image(self, stem: str) -> Path:
        return self.images / f"{stem}.png"

    def mask(self, stem: str) -> Path:
        return self.masks / f"{stem}.png"

    def describe(self, text: str | None = None) -> None:
        given = text or f"classes: [{', '.join(NAMES)}]\nignore: [255]\n"
        (self.root / "labels.yaml").write_text(given)

    def split(self, train: list[str], val: list[str]) -> None:
        for name, stems in (("train", train), ("val", val)):
            (self.root / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))

    def some(self, count: int) -> list[str]:
        return [str(stem) for stem in self.rng.choice(self.stems[:TRAIN], count, replace=False)]

    def each_mask(self, change: Callable[[Array], Array], stems: list[str] | None = None) -> None:
        for stem in stems or self.stems:
            save_mask(self.mask(stem), change(mask_at(self.mask(stem))))

    def add(self, stem: str, picture: Array, labels: Array, split: str = "train") -> None:
        Image.fromarray(picture).save(self.image(stem))
        save_mask(self.mask(stem), labels)
        with (self.root / f"{split}.txt").open("a") as stream:
            stream.write(f"{stem}\n")


@dataclass(frozen=True)
class Fault:
    """One way to spoil a clean set, the kind of finding it should give, and how severe that is."""

    name: str
    kind: str
    severity: str
    inject: Callable[[Corpus], None]


FAULTS: list[Fault] = []


def fault(kind: str, severity: str) -> Callable[[Callable[[Corpus], None]], Callable[[Corpus], None]]:
    def register(inject: Callable[[Corpus], None]) -> Callable[[Corpus], None]:
        FAULTS.append(Fault(inject.__name__, kind, severity, inject))
        return inject

    return register


# Names -----------------------------------------------------------------------------------------------------


@fault("image-without-mask", "error")
def mask_deleted(corpus: Corpus) -> None:
    corpus.mask(corpus.some(1)[0]).unlink()


@fault("mask-without-image", "warning")
def image_deleted(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    corpus.image(stem).unlink()
    corpus.split([name for name in corpus.stems[:TRAIN] if name != stem], corpus.stems[TRAIN:])


@fault("image-without-mask", "error")
def masks_with_a_suffix(corpus: Corpus) -> None:
    for stem in corpus.stems:
        corpus.mask(stem).rename(corpus.masks / f"{stem}_mask.png")


@fault("same-name", "error")
def two_formats_of_a_picture(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    Image.open(corpus.image(stem)).save(corpus.images / f"{stem}.jpg")


@fault("letter-case", "error")
def mask_in_capitals(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    corpus.mask(stem).rename(corpus.masks / f"{stem.upper()}.png")


@fault("letter-case", "warning")
def names_that_differ_in_case(corpus: Corpus) -> None:
    corpus.add(corpus.some(1)[0].upper(), *scene(corpus.rng))


@fault("listed-but-missing", "error")
def list_names_what_is_not_there(corpus: Corpus) -> None:
    corpus.split([*corpus.stems[:TRAIN], "view999"], corpus.stems[TRAIN:])


@fault("listed-twice", "warning")
def list_repeats_a_line(corpus: Corpus) -> None:
    corpus.split([*corpus.stems[:TRAIN], corpus.stems[3]], corpus.stems[TRAIN:])


@fault("empty-split", "warning")
def no_validation(corpus: Corpus) -> None:
    corpus.split(corpus.stems, [])
    (corpus.root / "val.txt").unlink()


@fault("unread-file", "note")
def arrays_among_the_masks(corpus: Corpus) -> None:
    np.save(corpus.masks / "view000.npy", np.zeros((4, 4)))


# Files -----------------------------------------------------------------------------------------------------


@fault("unreadable-image", "error")
def image_truncated(corpus: Corpus) -> None:
    path = corpus.image(corpus.some(1)[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@fault("unreadable-image", "error")
def jpeg_truncated(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    buffer = io.BytesIO()
    Image.open(corpus.image(stem)).save(buffer, "JPEG")
    corpus.image(stem).write_bytes(buffer.getvalue()[:-1500])


@fault("unreadable-mask", "error")
def mask_truncated(corpus: Corpus) -> None:
    path = corpus.mask(corpus.some(1)[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@fault("unreadable-mask", "error")
def mask_of_no_bytes(corpus: Corpus) -> None:
    corpus.mask(corpus.some(1)[0]).write_bytes(b"")


@fault("unreadable-image", "error")
def page_instead_of_picture(corpus: Corpus) -> None:
    corpus.image(corpus.some(1)[0]).write_text("<html>404 not found</html>")


@fault("blank-image", "warning")
def picture_of_one_colour(corpus: Corpus) -> None:
    Image.new("RGB", (WIDTH, HEIGHT), (3, 3, 3)).save(corpus.image(corpus.some(1)[0]))


@fault("mixed-bit-depths", "warning")
def pictures_of_16_bits(corpus: Corpus) -> None:
    for stem in corpus.some(2):
        grey = np.asarray(Image.open(corpus.image(stem)).convert("L")).astype(np.uint16) * 16
        Image.fromarray(grey).save(corpus.image(stem))


@fault("mixed-channels", "warning")
def pictures_with_transparency(corpus: Corpus) -> None:
    for stem in corpus.some(2):
        Image.open(corpus.image(stem)).convert("RGBA").save(corpus.image(stem))


@fault("mixed-channels", "note")
def pictures_in_grey(corpus: Corpus) -> None:
    for stem in corpus.some(3):
        Image.open(corpus.image(stem)).convert("L").save(corpus.image(stem))


# Geometry --------------------------------------------------------------------------------------------------


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
    for stem in corpus.some(2):
        _as_camera(corpus, stem, 3)


@fault("turned-mask", "error")
def masks_mirrored(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels[:, ::-1].copy(), corpus.some(3))


@fault("turned-mask", "error")
def masks_upside_down(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: labels[::-1].copy())


@fault("shifted-mask", "warning")
def a_mask_moved(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.roll(labels, (7, -11), (0, 1)), corpus.some(2))


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


# Values ----------------------------------------------------------------------------------------------------


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


@fault("antialiased-mask", "error")
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


# Contents --------------------------------------------------------------------------------------------------


@fault("empty-mask", "warning")
def mask_ignored_all_over(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.full_like(labels, 255), corpus.some(1))


@fault("single-class-mask", "note")
def mask_of_background_only(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.zeros_like(labels), corpus.some(1))


@fault("single-class-mask", "warning")
def most_masks_of_background_only(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.zeros_like(labels), corpus.stems[:18])


@fault("absent-class", "warning")
def class_that_no_mask_shows(corpus: Corpus) -> None:
    corpus.describe(f"classes: [{', '.join(NAMES)}, unicorn]\nignore: [255]\n")


@fault("class-not-in-train", "warning")
def class_only_in_validation(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.where(labels == 3, 0, labels).astype(np.uint8), corpus.stems[:TRAIN])


@fault("rare-class", "note")
def class_of_few_pixels(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        labels[labels == 3] = 0
        labels[60:62, 60:62] = 3
        return labels

    corpus.each_mask(spoil)


@fault("void-share", "warning")
def half_of_it_ignored(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        labels[:, : WIDTH // 2] = 255
        return labels

    corpus.each_mask(spoil)


@fault("void-share", "error")
def background_ignored_and_nothing_else_there(corpus: Corpus) -> None:
    corpus.describe(f"classes: [{', '.join(NAMES)}]\nignore: [9]\n")

    def spoil(labels: Array) -> Array:
        spoilt = np.full_like(labels, 9)
        spoilt[60:64, 60:64] = 1
        return spoilt

    corpus.each_mask(spoil)


@fault("inverted-ignore", "warning")
def only_borders_labelled(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        edge = np.zeros(labels.shape, bool)
        edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        edge[1:] |= labels[1:] != labels[:-1]
        return np.where(edge, labels, 255).astype(np.uint8)

    corpus.each_mask(spoil)


@fault("dominant-class", "warning")
def nearly_all_background(corpus: Corpus) -> None:
    def spoil(labels: Array) -> Array:
        rows, columns = np.indices(labels.shape)
        return np.where((rows > 100) & (columns > 120), labels, 0).astype(np.uint8)

    corpus.each_mask(spoil)


# Repetition ------------------------------------------------------------------------------------------------


@fault("duplicate-image", "warning")
def pair_copied(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    corpus.add("copy", np.asarray(Image.open(corpus.image(stem))), mask_at(corpus.mask(stem)))


@fault("conflicting-masks", "warning")
def picture_labelled_twice(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    labels = mask_at(corpus.mask(stem))
    labels[labels == 1] = 2
    corpus.add("copy", np.asarray(Image.open(corpus.image(stem))), labels)


@fault("duplicate-mask", "warning")
def mask_copied(corpus: Corpus) -> None:
    first, second = corpus.some(2)
    shutil.copy(corpus.mask(first), corpus.mask(second))


@fault("leak-exact", "error")
def picture_in_train_and_val(corpus: Corpus) -> None:
    corpus.split(corpus.stems[:TRAIN], [*corpus.stems[TRAIN:], corpus.stems[2]])


@fault("leak-exact", "error")
def picture_in_val_under_another_name(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    corpus.add("copy", np.asarray(Image.open(corpus.image(stem))), mask_at(corpus.mask(stem)), "val")


@fault("leak-near", "warning")
def picture_in_val_compressed(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    buffer = io.BytesIO()
    Image.open(corpus.image(stem)).save(buffer, "JPEG", quality=70)
    corpus.add("copy", np.asarray(Image.open(buffer)), mask_at(corpus.mask(stem)), "val")


@fault("leak-near", "warning")
def picture_in_val_made_smaller(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    small = Image.open(corpus.image(stem)).resize((WIDTH * 3 // 4, HEIGHT * 3 // 4), Image.Resampling.BICUBIC)
    mask = Image.open(corpus.mask(stem)).resize(small.size, Image.Resampling.NEAREST)
    corpus.add("copy", np.asarray(small), np.asarray(mask), "val")


@fault("leak-alike", "note")
def next_frame_in_val(corpus: Corpus) -> None:
    stem = corpus.some(1)[0]
    picture, labels = np.asarray(Image.open(corpus.image(stem))).copy(), mask_at(corpus.mask(stem))
    corpus.add("next", np.roll(picture, 2, 1), np.roll(labels, 2, 1), "val")
