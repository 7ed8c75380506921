"""Videos written by PyAV: H.264 in MP4."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np

from refineseg.inference.video.clips import HIGH_DEFINITION, AudioPacket, Clip, import_av
from refineseg.labels import UInt8

CLOCK = Fraction(1, 90_000)  # seconds: MPEG's clock
QUALITY = "20"  # x264's constant rate factor: 18 looks lossless, 23 is its default


class ClipWriter:
    """Writes H.264 in MP4 at the frames' own times, as yuv420p, which every player knows.

    yuv420p needs even sizes: the last row or column of frames of odd size is repeated.
    """

    def __init__(self, path: Path, size: tuple[int, int], rate: Fraction, like: Clip | None = None) -> None:
        av = import_av()
        self.size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=rate.limit_denominator(60_000))
        self._stream.height, self._stream.width = self.size
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": QUALITY, "preset": "veryfast"}
        context = self._stream.codec_context
        context.time_base = CLOCK
        # Tagged so that players need not guess: BT.709 (1) or BT.601 (5, 6), limited range (1).
        high = size[0] >= HIGH_DEFINITION
        context.colorspace, context.color_primaries, context.color_trc = (1, 1, 1) if high else (5, 5, 6)
        context.color_range = 1
        self._colors = "ITU709" if high else "ITU601"
        self._sound = None
        if like is not None and like.aspect is not None:
            context.sample_aspect_ratio = like.aspect
        if like is not None and like.audio is not None:
            self._sound = self._container.add_stream_from_template(like.audio)
        self._last = -1

    def write(self, pixels: UInt8, time: Fraction) -> None:
        """Write a frame HxWx3 at its time in seconds, later than the last."""
        av = import_av()
        down, right = self.size[0] - pixels.shape[0], self.size[1] - pixels.shape[1]
        if down or right:
            pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._colors, dst_color_range="MPEG")
        self._last = max(self._last + 1, round(time / CLOCK))
        frame.pts, frame.time_base = self._last, CLOCK
        self._container.mux(self._stream.encode(frame))

    def copy(self, sound: AudioPacket) -> None:
        """Copy an audio packet unchanged."""
        if self._sound is not None:
            sound.packet.stream = self._sound
            self._container.mux(sound.packet)

    def finish(self) -> None:
        """Flush the encoder and write the index: the file is complete."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def drop(self) -> None:
        """Close the unfinished file; the caller deletes it."""
        with suppress(Exception):  # it is deleted anyway
            self._container.close()
