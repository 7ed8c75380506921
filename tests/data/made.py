"""Small data sets made from shapes: no photograph of anyone's is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from refineseg.labels import UInt8


def made_pair(seed: int, classes: int, size: tuple[int, int] = (36, 48), void: int = 255) -> tuple[UInt8, UInt8]:
    """A picture of coloured boxes and its mask: the colour says the class, with noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    mask = np.zeros(size, np.uint8)
    for value in rng.permutation(classes):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        mask[top : top + height // 2, left : left + width // 2] = value
    colors = np.array([[value * 53 % 256, value * 97 % 256, value * 151 % 256] for value in range(classes)])
    image = np.clip(colors[mask] + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
    mask[0, :3] = void
    return image, mask


def make_folder(parent: Path, pictures: int, size: tuple[int, int] = (36, 48)) -> Path:
    """``folder:`` data of three classes; returns its root."""
    root = parent / "set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for index in range(pictures):
        image, mask = made_pair(index, 3, size)
        Image.fromarray(image).save(root / "images" / f"p{index}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{index}.png")
    (root / "labels.yaml").write_text("classes: [background, box, other]\nignore: [255]\n")
    return root


def make_camvid(parent: Path, train: int, val: int) -> Path:
    """CamVid's SegNet layout with 11 classes; returns its root."""
    root = parent / "camvid"
    for split, count in (("train", train), ("val", val)):
        for folder in (split, f"{split}annot"):
            (root / folder).mkdir(parents=True)
        lines = []
        for index in range(count):
            image, mask = made_pair(index, 11, void=11)
            name = f"{split}_{index:03}.png"
            Image.fromarray(image).save(root / split / name)
            Image.fromarray(mask).save(root / f"{split}annot" / name)
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root
