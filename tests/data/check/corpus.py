"""A small clean data set made by a script, and what a way to spoil it is; ``faults`` has them."""

from __future__ import annotations

import io
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
