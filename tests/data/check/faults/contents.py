"""Classes and what the masks hold."""

from __future__ import annotations

import numpy as np

from tests.data.check.corpus import NAMES, TRAIN, WIDTH, Array, Corpus, fault


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
def everything_ignored(corpus: Corpus) -> None:
    corpus.each_mask(lambda labels: np.full_like(labels, 255))


@fault("void-share", "warning")
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
