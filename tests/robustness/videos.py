"""Bad videos."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np

from tests.robustness.case import Case, damages, pair, written

LARGEST = 65_535


def videos() -> Iterator[Case]:
    """Videos that are damaged, or ask for terabytes."""
    for codec, suffix in (("mpeg4", "mp4"), ("rawvideo", "avi")):
        for name, data in damages(video(codec, suffix)).items():
            # What can be decoded is predicted, with a note of what is missing.
            harmless = name in ("half", "last byte lost", "a byte flipped", "zeros from the middle")
            yield Case("video", f"{suffix} {name}", written(f"a.{suffix}", data), harmless)
    frames = bytearray(video("mpeg4", "mp4"))
    for box, place in (("stts", 8), ("stsz", 12), ("stsc", 8)):  # ISO 14496-12: where the count is
        wrong = bytearray(frames)
        at = wrong.index(box.encode()) + place
        wrong[at : at + 4] = b"\x7f\xff\xff\xff"
        yield Case("video", f"mp4 whose {box} has 2^31 entries", written("a.mp4", bytes(wrong)), harmless=True)
    sizes = bytearray(frames)
    at = sizes.index(b"mp4v") + 28
    sizes[at : at + 4] = struct.pack(">HH", LARGEST, LARGEST)
    yield Case("video", "mp4 that says 65535x65535", written("a.mp4", bytes(sizes)), harmless=True)
    raw = bytearray(video("rawvideo", "avi"))
    at = raw.index(b"strf") + 12  # BITMAPINFOHEADER, after chunk name, chunk size and its own size
    raw[at : at + 8] = struct.pack("<ii", LARGEST, LARGEST)
    yield Case("video", "avi of raw frames of 65535x65535", written("a.avi", bytes(raw)))


def video(codec: str, suffix: str) -> bytes:
    """Six frames of 48x36."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        with av.open(str(path), "w") as file:
            stream: Any = file.add_stream(codec, rate=5)
            stream.width, stream.height, stream.pix_fmt = 48, 36, "yuv420p"
            for seed in range(6):
                frame = av.VideoFrame.from_ndarray(np.asarray(pair(seed)[0]), "rgb24")
                file.mux(stream.encode(frame.reformat(format="yuv420p")))
            file.mux(stream.encode())
        return path.read_bytes()
