"""A server on a tiny network, and pictures made by code."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image

from refineseg.inference.predictor import Segmenter
from refineseg.labels import LabelMap, UInt8
from refineseg.model import create_model
from refineseg.model.folders.model_folder import ModelCard
from refineseg.serving.access import Access
from refineseg.serving.limits import Limits
from tests.data.made import made_pair
from tests.model.filled import fill

pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")

NAMES = ["sky", "road", "car", "tree"]
SEGMENT = "/v1/segment"


def tiny() -> Segmenter:
    """A network of few channels, four classes, no random weights."""
    model = create_model("refinenet-lw-mbv2", len(NAMES), width=16, coarse_width=16)
    fill(model)
    segmenter = Segmenter.from_network(
        model, ModelCard("tiny", LabelMap.from_names(NAMES), licence="none"), device="cpu"
    )
    segmenter.runner.__dict__["overlap"] = 64  # measuring it takes a second
    return segmenter


@contextmanager
def serving(
    segmenter: Segmenter, limits: Limits | None = None, key: str | None = None, access: Access | None = None
) -> Iterator[Any]:
    """A client of a running server; a failure of the server is an answer of 500, not an exception here."""
    from refineseg.serving.app import create_app

    app = create_app(segmenter, limits, key, access)
    with testclient.TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        yield client


def pixels(height: int = 40, width: int = 56, seed: int = 0) -> UInt8:
    """A picture of coloured boxes."""
    return made_pair(seed, len(NAMES), (height, width))[0]


def encoded(picture: UInt8 | Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    stream = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, format=format, **options)
    return stream.getvalue()


def png_of(width: int, height: int, packed: bytes | None = None) -> bytes:
    """A small PNG file that says it is of any size: a bomb, where its data are there too."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = zlib.compress(bytes(width + 1) * min(height, 100)) if packed is None else packed
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
