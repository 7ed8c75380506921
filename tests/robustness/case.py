"""A bad input: its name, its kind, and what it leaves on the disk."""

from __future__ import annotations

import io
import os
import shutil
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refineseg.labels import LabelMap
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard, save_model_folder
from tests.data.made import made_pair
from tests.model.filled import fill

CLASSES = ["background", "box", "other"]
TERABYTE = 1 << 40


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        kind: picture, mask, yaml, settings, checkpoint, model, run, archive, scores, annotation, arguments,
            diverging, video or folder.
        name: unique within the kind.
        make: puts it into a fresh folder and returns its path.
        harmless: some commands may rightly take it (a picture of one pixel, a damaged byte that no reader uses).
    """

    kind: str
    name: str
    make: Callable[[Path], Path]
    harmless: bool = False

    @property
    def id(self) -> str:
        """For reports and test names."""
        return f"{self.kind}:{self.name}"


def written(name: str, content: bytes | str) -> Callable[[Path], Path]:
    """A maker of one file."""
    data = content.encode() if isinstance(content, str) else content

    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return make


def bind(path: Path) -> None:
    """A socket with this name."""
    here = Path.cwd()
    os.chdir(path.parent)  # since the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def hole(path: Path) -> None:
    """Lengthen a file to a terabyte that takes no room."""
    path.touch()
    os.truncate(path, TERABYTE)


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir,
    "a named pipe": os.mkfifo,
    "a socket": bind,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a terabyte": hole,
}


def unreadable(kind: str, file: str) -> Iterator[Case]:
    """What is there under a file's name and cannot be read as one."""
    for name, put in UNREADABLE.items():

        def make(folder: Path, put: Callable[[Path], object] = put) -> Path:
            put(folder / file)
            return folder / file

        yield Case(kind, name, make)


def damages(data: bytes) -> dict[str, bytes]:
    """The usual accidents of a file."""
    half = len(data) // 2
    flipped = bytearray(data)
    flipped[half] ^= 0xFF
    return {
        "empty": b"",
        "first bytes only": data[:9],
        "half": data[:half],
        "last byte lost": data[:-1],
        "a byte flipped": bytes(flipped),
        "zeros from the middle": data[:half] + bytes(len(data) - half),
        "a text page in its place": b"<!DOCTYPE html><title>404 Not Found</title>\n" * 5,
        "random bytes": np.random.default_rng(len(data)).bytes(600),
    }


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """A picture as a file's bytes."""
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def png(width: int, height: int, depth: int = 8, color: int = 0, rows: bytes | None = None) -> bytes:
    """A PNG file that says what it likes of itself."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    packed = zlib.compress(bytes(4000)) if rows is None else rows
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def pair(seed: int = 0) -> tuple[Image.Image, Image.Image]:
    """A good picture and mask, 48x36."""
    picture, mask = made_pair(seed, len(CLASSES))
    return Image.fromarray(picture), Image.fromarray(mask)


@cache
def _good_model(place: str) -> Path:
    network = create_model("refinenet-lw-mbv2", 3, backbone="test_efficientnet", width=8, coarse_width=8)
    fill(network)
    folder = Path(place) / "good-model"
    save_model_folder(folder, network, ModelCard("m", LabelMap.from_names(CLASSES)))
    return folder


def good_model(place: Path) -> Path:
    """A small model folder, made once in a place."""
    return _good_model(str(place))


def copied_model(place: Path, into: Path) -> Path:
    """A copy of it to spoil."""
    folder = into / "model"
    shutil.copytree(good_model(place), folder)
    return folder


def good_data(root: Path, count: int = 3) -> Path:
    """``folder:`` data with splits."""
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for index in range(count):
        picture, mask = pair(index)
        picture.save(root / "images" / f"p{index}.png")
        mask.save(root / "masks" / f"p{index}.png")
    (root / "labels.yaml").write_text("classes: [background, box, other]\nignore: [255]\n")
    names = [f"p{index}\n" for index in range(count)]
    (root / "train.txt").write_text("".join(names[:-1]))
    (root / "val.txt").write_text(names[-1])
    return root
