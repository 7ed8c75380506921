"""PNG written strip by strip (W3C PNG, third edition); Pillow needs the whole picture in memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from refineseg.labels import UInt8
from refineseg.system.files import atomic_path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, INDEXED = 0, 3  # colour types


def write_png_strips(
    path: Path, size: tuple[int, int], strips: Iterable[UInt8], palette: UInt8 | None = None
) -> None:
    """Write an 8-bit PNG of one channel, which appears under its name once complete.

    ``size`` is height and width; strips are hxW, from top to bottom. Without a palette, 256x3 colours of the
    values, it is grey.
    """
    kind = GREY if palette is None else INDEXED
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(SIGNATURE)
        _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, kind, 0, 0, 0))
        if palette is not None:
            _chunk(stream, b"PLTE", palette.tobytes())
        packer = zlib.compressobj(6)
        for rows in strips:
            filtered = np.zeros((rows.shape[0], rows.shape[1] + 1), np.uint8)  # filter 0 before each row: none
            filtered[:, 1:] = rows
            _data(stream, packer.compress(filtered.data))
        _data(stream, packer.flush())
        _chunk(stream, b"IEND", b"")


def _data(stream: BinaryIO, packed: bytes) -> None:
    if packed:
        _chunk(stream, b"IDAT", packed)


def _chunk(stream: BinaryIO, name: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + name + content)
    stream.write(struct.pack(">I", zlib.crc32(name + content)))
