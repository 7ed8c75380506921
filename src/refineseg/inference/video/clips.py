"""Videos and cameras read by PyAV: upright RGB frames with their times, and audio packets to copy."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from refineseg.errors import InputError, extra
from refineseg.labels import UInt8
from refineseg.system.text import reason_of

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"}
    | {".3gp", ".ogv", ".h264", ".hevc"}
)
USUAL_RATE = Fraction(25)  # frames per second, if the file has no rate
COPIED_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})  # codecs that players expect in MP4
COVER = 0x400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
HIGH_DEFINITION = 720  # rows from which colours are BT.709; BT.601 below
UNSPECIFIED = 2  # FFmpeg's AVCOL_SPC_UNSPECIFIED


@dataclass(frozen=True)
class Frame:
    """One frame."""

    pixels: UInt8  # HxWx3 uint8 RGB, upright
    time: Fraction  # seconds since the beginning of the source


@dataclass(frozen=True)
class AudioPacket:
    """A packet of compressed audio, to be copied."""

    packet: Any  # PyAV's packet
    time: Fraction  # seconds since the beginning of the source


class Clip:
    """An opened video file, or a ``live`` camera or stream; iterating it decodes it once."""

    def __init__(self, name: str, container: Any, live: bool) -> None:
        self.name, self.live = name, live
        self._container = container
        # Cover art in a music file is a video stream of one frame.
        shown = [s for s in container.streams.video if not s.disposition.value & COVER]
        if not shown:
            raise InputError(f"no video stream in {name}: is it audio only?")
        self._stream = shown[0]
        self._stream.thread_type = "AUTO"
        # average frames per second
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE)
        sounds = [] if live else [s for s in container.streams.audio if s.codec_context.name in COPIED_AUDIO]
        self.audio = sounds[0] if sounds else None  # the audio stream if it can be copied into an MP4
        self.damaged = 0  # packets so far that could not be decoded
        self.reached = Fraction(0)  # seconds from the first frame to the end of the last decoded one
        beginning = container.start_time  # microseconds; many files do not begin at 0
        self._start = Fraction(0 if live or beginning is None else beginning, 1_000_000)
        self._first_size: tuple[int, int] | None = None
        self._turned = False
        self._items = self._decoded()
        self._early: list[Frame | AudioPacket] = []  # items up to the first frame, which sets the size
        first = None
        for item in self._items:
            self._early.append(item)
            if isinstance(item, Frame):
                first = item
                break
        if first is None:
            raise InputError(f"cannot decode any frame of {name}: is it damaged?")
        self._early = [first, *self._early[:-1]]
        self.size = (first.pixels.shape[0], first.pixels.shape[1])  # height and width of the upright frames
        self.seconds = self._length()
        self.counted = bool(self._stream.frames) and not live  # otherwise ``frames`` is a guess, or unknown
        guess = max(1, round(self.seconds * self.rate)) if self.seconds else None
        self.frames: int | None = int(self._stream.frames) if self.counted else guess

    def __iter__(self) -> Iterator[Frame | AudioPacket]:
        """The first frame, then frames and (unless ``audio`` is None) audio packets."""
        early, self._early = self._early, []
        yield from early
        yield from self._items

    @property
    def aspect(self) -> Fraction | None:
        """Pixel aspect ratio (width / height) of the upright picture; None for square pixels."""
        ratio = self._stream.codec_context.sample_aspect_ratio
        if not ratio or ratio == 1:
            return None
        return Fraction(1 / ratio if self._turned else ratio)

    def _length(self) -> Fraction | None:
        """Length in seconds according to the header. Matroska's counts from 0 even if the video starts later."""
        duration, base = self._stream.duration, self._stream.time_base
        if duration is None and self._container.duration is not None:
            duration, base = self._container.duration, Fraction(1, 1_000_000)
        if self.live or not duration or not base:
            return None
        length = Fraction(duration * base)
        late = "matroska" in self._container.format.name and length > self._start
        return length - self._start if late else length

    def _decoded(self) -> Iterator[Frame | AudioPacket]:
        """Decode; packets that cannot be decoded are counted and skipped."""
        streams = [self._stream] if self.audio is None else [self._stream, self.audio]
        last: Fraction | None = None
        start: Fraction | None = None
        first: Fraction | None = None
        for packet in self._packets(streams):
            if packet.stream.type == "audio":
                if packet.dts is not None:
                    yield AudioPacket(packet, Fraction(packet.dts) * packet.time_base - self._start)
                continue
            for frame in self._frames(packet):
                stamp = None if frame.pts is None else Fraction(frame.pts) * frame.time_base
                if stamp is not None:
                    if self.live:  # a camera's clock may start anywhere
                        start = stamp if start is None else start
                    stamp -= start or self._start
                if stamp is None or (last is not None and stamp <= last):
                    stamp = Fraction(0) if last is None else last + 1 / self.rate
                last = stamp
                first = stamp if first is None else first
                self.reached = last - first + 1 / self.rate
                yield Frame(self._upright(frame), stamp)

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        try:
            yield from self._container.demux(streams)
        except import_av().error.FFmpegError:
            self.damaged += 1

    def _frames(self, packet: Any) -> list[Any]:
        av = import_av()
        try:
            return list(packet.decode())
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self.damaged += 1
            return []

    def _upright(self, frame: Any) -> UInt8:
        """The frame as RGB, turned and mirrored by its display matrix, resized if the size has changed."""
        matrix = display_matrix(frame)
        self._turned = matrix[0] == 0
        pixels = np.ascontiguousarray(displayed(to_rgb(frame), matrix))
        if self._first_size is None:
            self._first_size = (pixels.shape[0], pixels.shape[1])
        if pixels.shape[:2] != self._first_size:
            height, width = self._first_size
            pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
        return np.asarray(pixels, np.uint8)


def to_rgb(frame: Any) -> UInt8:
    """A decoded frame as HxWx3 RGB, by its own colour space and range.

    An unspecified colour space is taken as BT.709 from 720 rows on and BT.601 below, as players do.
    """
    unspecified = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb and frame.height >= HIGH_DEFINITION
    if unspecified:
        frame = frame.reformat(format="rgb24", src_colorspace="ITU709")
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """The signs (a, b, c, d) of a frame's display matrix: a pixel at (x, y) is shown at (a x + c y, b x + d y).

    ISO/IEC 14496-12, 8.3.2. Angles are rounded to quarter turns; (1, 0, 0, 1) if there is no matrix.
    """
    from av.sidedata.sidedata import Type

    found = frame.side_data.get(Type.DISPLAYMATRIX)
    if found is None:
        return (1, 0, 0, 1)
    a, b, _, c, d = struct.unpack("=5i", bytes(found)[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return (-1 if a < 0 else 1, 0, 0, -1 if d < 0 else 1)
    return (0, -1 if b < 0 else 1, -1 if c < 0 else 1, 0)


def displayed(pixels: UInt8, matrix: tuple[int, int, int, int]) -> UInt8:
    """Apply the display matrix to a stored frame, HxWx3."""
    a, b, c, d = matrix
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1]


@contextmanager
def open_clip(source: str | Path, live: bool = False) -> Iterator[Clip]:
    """Open a video file; with ``live`` a camera by its number, or a stream by its address (rtsp://, http:// ...).

    Raises:
        InputError: the file is missing, damaged, or has no video stream; the camera or stream cannot be opened.
        MissingExtraError: PyAV is not installed.
    """
    av = import_av()
    name = str(source)
    place, form = camera(name) if live and name.isdecimal() else (name, None)
    if not live and not Path(name).is_file():
        raise InputError(f"File not found: {name}")
    try:
        container = av.open(place, format=form)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = reason_of(error)
        raise InputError(
            f"cannot open the camera or stream {name} ({reason}): give a camera's number, such as 0, or an "
            "address, such as rtsp://host/stream"
            if live
            else f"cannot read {name} as a video ({reason}): is it damaged or another format?"
        ) from error
    with container:
        yield Clip(place, container, live)


def camera(number: str) -> tuple[str, str]:
    """A camera's device path and FFmpeg's input format on this system."""
    if sys.platform == "darwin":
        return number, "avfoundation"
    if sys.platform == "win32":
        return f"video={number}", "dshow"
    return f"/dev/video{number}", "v4l2"


def is_video(path: Path) -> bool:
    """Whether a file's suffix is that of a video."""
    return path.suffix.lower() in SUFFIXES


def import_av() -> Any:
    """The package av (PyAV); MissingExtraError without it."""
    with extra("av", "video", "reading and writing video"):
        import av
    return av
