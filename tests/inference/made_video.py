"""Small videos made by the tests, and a quick and exact predictor: the class is the grey level's quarter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from refineseg.config import ModelConfig
from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners import Runner
from refineseg.inference.tiles.blending import Map, Read, Strip, blended_strips, join_strips, view_of
from refineseg.inference.tiles.tiling import Tiling
from refineseg.labels import LabelMap, UInt8
from refineseg.model.folders.card import ModelCard


def frames(count: int = 6, height: int = 48, width: int = 64) -> list[UInt8]:
    """A pattern of flat 16x16 squares that moves 4 pixels to the left from frame to frame."""
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 4, (height // 16 + 1, (width + 4 * count) // 16 + 1), np.uint8) * 64 + 32
    scene = squares.repeat(16, 0).repeat(16, 1)
    return [
        np.repeat(scene[:height, 4 * i : 4 * i + width, None], 3, axis=2).astype(np.uint8) for i in range(count)
    ]


def write_video(
    path: Path,
    pictures: Sequence[UInt8],
    times: Sequence[float] | None = None,
    sound: bool = False,
    pixels: str = "yuv444p",
) -> Path:
    """A nearly lossless H.264 video at 10 frames per second, or at the times given, with optionally a hum."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = {"crf": "4", "preset": "veryfast"}
        stream.codec_context.time_base = Fraction(1, 1000)
        hum: Any = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(1000 * (times[index] if times else index / 10)), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if hum is not None:
            wave = np.sin(np.arange(800 * len(pictures)) / 3).astype(np.float32)[None]
            for start in range(0, wave.shape[1], 1024):
                part = av.AudioFrame.from_ndarray(wave[:, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = 8000, start, Fraction(1, 8000)
                container.mux(hum.encode(part))
            container.mux(hum.encode(None))
    return path


def read_video(path: Path) -> tuple[list[UInt8], list[float]]:
    """Frames and their times."""
    with av.open(str(path)) as container:
        decoded = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return [np.asarray(pixels, np.uint8) for pixels, _ in decoded], [float(time or 0) for _, time in decoded]


def turned(path: Path) -> None:
    """Write the matrix of a telephone held upright into the video's track header: shown turned clockwise.

    ISO/IEC 14496-12, 8.3.2: nine numbers {a b u c d v x y w} of 16.16, here a = 0, b = 1, c = -1, d = 0.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 32 + 4  # version 0: times, id, duration, reserved, layer to volume
    at = data.index((0x10000).to_bytes(4, "big") + bytes(12) + (0x10000).to_bytes(4, "big"), at - 8)
    matrix = [0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000]
    data[at : at + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(data)


class Quarters(Segmenter):
    """A predictor whose class is the grey level's quarter, cell by cell of 4x4."""

    def __init__(self) -> None:
        runner = SimpleNamespace(
            array_ops=ArrayOps(),
            config=ModelConfig(),
            overlap=32,
            bytes_per_pixel=1.0,
        )
        super().__init__(cast(Runner, runner), ModelCard("quarters", LabelMap.from_names(list("abcd"))))

    def scores(self, pixels: UInt8) -> list[Map]:
        """4 minus the distance from each quarter's middle, in quarters."""
        level = pixels[::4, ::4, 0].astype(np.float32) / 64 - 0.5
        return [np.stack([4 - np.abs(level - k) for k in range(4)])[None]]

    def strips(
        self,
        tiling: Tiling,
        read: Read,
        options: PredictOptions,
        start_row: int = 0,
        each: Callable[[], None] | None = None,
        change: Callable[[Strip], Strip] | None = None,
    ) -> Iterator[tuple[int, UInt8, NDArray[np.float16] | None]]:
        found = blended_strips(tiling, [view_of(tiling.size, 1.0)], read, self.scores, start_row, each)
        whole = join_strips(found)
        scores = (whole if change is None else change(whole)).maps[0][0]
        wide = scores.repeat(4, 1).repeat(4, 2)[:, : tiling.size[0], : tiling.size[1]]
        yield 0, wide.argmax(0).astype(np.uint8), (np.exp(wide) / np.exp(wide).sum(0)).astype(np.float16)
