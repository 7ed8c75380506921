"""The same picture or mask more than once."""

from __future__ import annotations

import io
import shutil

import numpy as np
from PIL import Image

from tests.data.check.corpus import HEIGHT, TRAIN, WIDTH, Corpus, fault, mask_at


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


@fault("leak-pieces", "warning")
def pieces_of_one_photograph_in_both_splits(corpus: Corpus) -> None:
    for index, stem in enumerate((*corpus.stems[:2], *corpus.stems[TRAIN : TRAIN + 2])):
        for path in (corpus.image(stem), corpus.mask(stem)):
            path.rename(path.with_name(f"yard{index % 2}_scaled_{index // 2}.png"))
    renamed = ["yard0_scaled_0", "yard1_scaled_0"]
    corpus.split(renamed + corpus.stems[2:TRAIN], ["yard0_scaled_1", "yard1_scaled_1", *corpus.stems[TRAIN + 2 :]])
