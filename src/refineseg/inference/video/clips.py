"""Videos and cameras by PyAV: upright RGB frames with their times, and H.264 in MP4 written from such frames."""

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

from refineseg.errors import InputError, MissingExtraError
from refineseg.labels import UInt8

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv"}
    | {".3gp", ".ogv", ".h264", ".hevc"}
)
USUAL_RATE = Fraction(25)
CLOCK = Fraction(1, 90_000)  # seconds: MPEG's clock, for sources whose own is unknown or too coarse
COPIED_AUDIO = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})  # what MP4 holds and players play
COVER = 0x400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC
QUALITY = "20"  # x264's constant rate factor: 18 looks lossless, 23 is its default
HIGH_DEFINITION = 720  # rows from which colours are meant by BT.709, below by BT.601
UNSPECIFIED = 2  # FFmpeg's AVCOL_SPC_UNSPECIFIED


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        pixels: HxWx3 uint8 RGB, upright.
        time: seconds since the beginning of the source.
    """

    pixels: UInt8
    time: Fraction


@dataclass(frozen=True)
class Sound:
    """A packet of compressed sound, to be copied.

    Attributes:
        packet: PyAV's.
        time: seconds since the beginning of the source.
    """

    packet: Any
    time: Fraction


class Clip:
    """An opened video file, stream or camera; iterating it decodes it once.

    Attributes:
        size: height and width of the upright frames.
        rate: frames per second, on average.
        frames: number of frames, or None if the file does not say.
        seconds: length by the file's header, or None.
        audio: the sound's stream if it can be copied to an MP4, else None.
        aspect: width of a pixel by its height, or None for square ones.
        live: whether frames come in their own time and cannot wait.
        damaged: number of packets that could not be decoded so far.
        reached: seconds from the first frame to the end of the last one decoded so far.
    """

    def __init__(self, name: str, container: Any, live: bool) -> None:
        self.name, self.live = name, live
        self._container = container
        # The cover of a piece of music is a video stream of one frame.
        shown = [s for s in container.streams.video if not s.disposition.value & COVER]
        if not shown:
            raise InputError(f"expected a video in {name}, it has no moving picture: is it sound alone?")
        self._stream = shown[0]
        self._stream.thread_type = "AUTO"
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or USUAL_RATE)
        sounds = [] if live else [s for s in container.streams.audio if s.codec_context.name in COPIED_AUDIO]
        self.audio = sounds[0] if sounds else None
        self.damaged = 0
        self.reached = Fraction(0)
        beginning = container.start_time  # microseconds; many files do not begin at 0
        self._start = Fraction(0 if live or beginning is None else beginning, 1_000_000)
        self._first_size: tuple[int, int] | None = None
        self._turned = False
        self._items = self._decoded()
        self._early: list[Frame | Sound] = []  # what is read until the first frame tells the size
        first = None
        for item in self._items:
            self._early.append(item)
            if isinstance(item, Frame):
                first = item
                break
        if first is None:
            raise InputError(f"cannot decode a single frame of {name}: is it damaged?")
        self._early = [first, *self._early[:-1]]
        self.size = (first.pixels.shape[0], first.pixels.shape[1])
        self.seconds = self._length()
        self.frames = self._count()

    def __iter__(self) -> Iterator[Frame | Sound]:
        """A frame, then frames and, where ``audio`` is not None, packets of sound."""
        early, self._early = self._early, []
        yield from early
        yield from self._items

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel by its height, of the upright picture; None for square ones."""
        ratio = self._stream.codec_context.sample_aspect_ratio
        if not ratio or ratio == 1:
            return None
        return Fraction(1 / ratio if self._turned else ratio)

    def _count(self) -> int | None:
        if self.live:
            return None
        if self._stream.frames:
            return int(self._stream.frames)
        return max(1, round(self.seconds * self.rate)) if self.seconds else None

    @property
    def counted(self) -> bool:
        """Whether ``frames`` is a number from the file and not its length times its average rate."""
        return bool(self._stream.frames) and not self.live

    def _length(self) -> Fraction | None:
        """Seconds by the file's header. Matroska's end with the last frame, so that a late start is in them."""
        duration, base = self._stream.duration, self._stream.time_base
        if duration is None and self._container.duration is not None:
            duration, base = self._container.duration, Fraction(1, 1_000_000)
        if self.live or not duration or not base:
            return None
        length = Fraction(duration * base)
        late = "matroska" in self._container.format.name and length > self._start
        return length - self._start if late else length

    def _decoded(self) -> Iterator[Frame | Sound]:
        """Decode; packets that cannot be decoded are counted and left out."""
        streams = [self._stream] if self.audio is None else [self._stream, self.audio]
        last: Fraction | None = None
        start: Fraction | None = None
        first: Fraction | None = None
        for packet in self._packets(streams):
            if packet.stream.type == "audio":
                if packet.dts is not None:
                    yield Sound(packet, Fraction(packet.dts) * packet.time_base - self._start)
                continue
            for frame in self._frames(packet):
                stamp = None if frame.pts is None else Fraction(frame.pts) * frame.time_base
                if stamp is not None:
                    if self.live:  # a camera's clock begins anywhere
                        start = stamp if start is None else start
                    stamp -= start or self._start
                if stamp is None or (last is not None and stamp <= last):
                    stamp = Fraction(0) if last is None else last + 1 / self.rate
                last = stamp
                first = stamp if first is None else first
                self.reached = last - first + 1 / self.rate
                yield Frame(self._upright(frame), stamp)

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        av = import_av()
        packets = self._container.demux(streams)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self.damaged += 1
                return
            if packet is None:
                return
            yield packet

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
        """RGB as the file's display matrix turns or mirrors it, all of the first frame's size."""
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
    """A decoded frame as HxWx3, by the colours and the range that it says it has.

    Colours that are not said are BT.709 from 720 rows on and BT.601 below, as players take them.
    """
    unsaid = frame.colorspace == UNSPECIFIED and not frame.format.is_rgb and frame.height >= HIGH_DEFINITION
    if unsaid:
        frame = frame.reformat(format="rgb24", src_colorspace="ITU709")
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def display_matrix(frame: Any) -> tuple[int, int, int, int]:
    """The signs (a, b, c, d) by which a frame is shown: a pixel at (x, y) goes to (a x + c y, b x + d y).

    ISO/IEC 14496-12, 8.3.2. Angles between the quarter turns are rounded. (1, 0, 0, 1) where nothing is said.
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
    """HxWx3 as stored to what the display matrix makes of it."""
    a, b, c, d = matrix
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if b + d < 0 else 1, :: -1 if a + c < 0 else 1]


class ClipWriter:
    """Writes H.264 in an MP4: yuv420p, which every player plays, at the frames' own times.

    Odd sizes get one more row or column, a copy of the last, since yuv420p has none.
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
        # The colours are said, so that players need not guess: BT.709 (1) or BT.601 (5, 6), limited range (1).
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
        """A frame HxWx3 at its time in seconds; times rise."""
        av = import_av()
        down, right = self.size[0] - pixels.shape[0], self.size[1] - pixels.shape[1]
        if down or right:
            pixels = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=self._colors, dst_color_range="MPEG")
        self._last = max(self._last + 1, round(time / CLOCK))
        frame.pts, frame.time_base = self._last, CLOCK
        self._container.mux(self._stream.encode(frame))

    def copy(self, sound: Sound) -> None:
        """A packet of sound as it is."""
        if self._sound is not None:
            sound.packet.stream = self._sound
            self._container.mux(sound.packet)

    def finish(self) -> None:
        """Write what the encoder still holds, and the index; the file is whole then."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def drop(self) -> None:
        """Close the file as it is; it is of no use."""
        try:
            self._container.close()
        except Exception:  # the file is thrown away: that it cannot be ended well does not matter
            return


@contextmanager
def open_clip(source: str | Path) -> Iterator[Clip]:
    """Open a video file.

    Raises:
        InputError: missing, damaged, or without a moving picture.
        MissingExtraError: PyAV is not installed.
    """
    av = import_av()
    path = Path(source)
    if not path.is_file():
        raise InputError(f"expected a video, found no file {path}")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path} as a video ({reason(error)}): is it damaged or another format?"
        ) from error
    with container:
        yield Clip(str(path), container, live=False)


@contextmanager
def open_live(source: str) -> Iterator[Clip]:
    """Open a camera by its number, or a stream by its address (rtsp://, http:// ...).

    Raises:
        InputError: there is none, or it gives no picture.
        MissingExtraError: PyAV is not installed.
    """
    av = import_av()
    place, form = camera(source) if source.isdecimal() else (source, None)
    try:
        container = av.open(place, format=form)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"cannot open the camera or stream {source} ({reason(error)}): expected the number of a camera, such "
            "as 0, or an address, such as rtsp://host/stream"
        ) from error
    with container:
        yield Clip(place, container, live=True)


def camera(number: str) -> tuple[str, str]:
    """A camera's place and the system's form of input for it."""
    if sys.platform == "darwin":
        return number, "avfoundation"
    if sys.platform == "win32":
        return f"video={number}", "dshow"
    return f"/dev/video{number}", "v4l2"


def is_video(path: Path) -> bool:
    """Whether a file's name is that of a video."""
    return path.suffix.lower() in SUFFIXES


def import_av() -> Any:
    """The package av (PyAV), which is an extra; this is the one place that imports it."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video", "reading and writing video") from error
    return av


def reason(error: Exception) -> str:
    """In one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:120] or type(error).__name__
