"""Files that cannot be what they should be."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from tests.data.check.corpus import HEIGHT, WIDTH, Corpus, fault


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


@fault("partly-read", "warning")
def pictures_of_several_frames(corpus: Corpus) -> None:
    for stem in corpus.some(2):
        frames = [Image.open(corpus.image(stem)).convert("RGB"), Image.new("RGB", (WIDTH, HEIGHT))]
        frames[0].save(corpus.image(stem).with_suffix(".tif"), save_all=True, append_images=frames[1:])
        corpus.image(stem).unlink()
