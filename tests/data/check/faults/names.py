"""Files that do not belong together."""

from __future__ import annotations

from PIL import Image

from tests.data.check.corpus import TRAIN, Corpus, fault, scene


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
def a_volume_among_the_masks(corpus: Corpus) -> None:
    (corpus.masks / "view000.nii").write_bytes(bytes(352))
