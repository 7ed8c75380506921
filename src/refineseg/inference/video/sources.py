"""Video sources: files, cameras, streams and folders of frames."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from refineseg.data.images import read_image
from refineseg.errors import InputError
from refineseg.inference.options import Tile
from refineseg.inference.video.background import newest, prefetched
from refineseg.inference.video.clips import AudioPacket, Clip, Frame, open_clip
from refineseg.inference.video.smoothing import Smoother


@dataclass(frozen=True)
class VideoOptions:
    """Options of videos."""

    # share of the past in the scores, from 0 (none) to below 1 (see ``inference.video.smoothing``)
    smooth: float = 0.0
    tile: Tile = None  # windows of each frame, as for ``Segmenter.predict``
    seconds: float | None = None  # length to process; None is all of it (for a camera, until it is stopped)
    rate: float = 25.0  # frames per second of a folder of frames

    def __post_init__(self) -> None:
        Smoother(self.smooth)  # checks the value
        if self.seconds is not None and not self.seconds > 0:
            raise InputError(f"expected --seconds above 0, got {self.seconds}")
        if not 0 < self.rate <= 1000:
            raise InputError(f"expected --fps above 0 and up to 1000, got {self.rate}")


@dataclass(frozen=True)
class VideoInput:
    """An input treated as a video."""

    source: str | Path | tuple[Path, ...]  # see ``open_source``
    options: VideoOptions = field(default_factory=VideoOptions)  # smoothing, tiles, length, rate

    @property
    def place(self) -> Path:
        """A path that names the outputs: the file, the folder of frames, ``camera_0`` or ``stream``."""
        if isinstance(self.source, Path):
            return self.source
        if isinstance(self.source, tuple):
            return self.source[0].parent.absolute()
        return Path(f"camera_{self.source}" if self.source.isdecimal() else "stream")

    def __str__(self) -> str:
        """The source as the user named it."""
        return str(self.source[0].parent if isinstance(self.source, tuple) else self.source)


@dataclass(frozen=True)
class FrameFolder:
    """Pictures of one size as the frames of a video, in order."""

    paths: Sequence[Path]
    rate: Fraction

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame]:
        """Frames read one by one; InputError if one cannot be read or differs in size."""
        size: tuple[int, ...] | None = None
        for index, path in enumerate(self.paths):
            pixels = read_image(path)
            size = size or pixels.shape
            if pixels.shape != size:
                raise InputError(
                    f"expected frames of one size, {size[1]}x{size[0]} as {self.paths[0].name}, got "
                    f"{pixels.shape[1]}x{pixels.shape[0]} in {path}"
                )
            yield Frame(pixels, index / self.rate)


Source = Clip | FrameFolder


@contextmanager
def open_source(source: str | Path | Sequence[Path], rate: float = 25.0) -> Iterator[Source]:
    """Open a video file, a camera by its number, a stream by its address, or pictures in order.

    Raises InputError if it cannot be opened, MissingExtraError without PyAV (extra ``video``).
    """
    if isinstance(source, str | Path):
        with open_clip(source, live=isinstance(source, str) and is_live(source)) as clip:
            yield clip
    else:
        yield FrameFolder(list(source), Fraction(rate).limit_denominator(1001))


def is_live(source: str) -> bool:
    """Whether a text names a camera or stream rather than a file."""
    return source.isdecimal() or "://" in source


def decoded(source: Source, video: VideoOptions) -> Generator[Frame | AudioPacket]:
    """Frames decoded in advance; of a camera only the newest."""
    items = _until(iter(source), video.seconds)
    return newest(items) if isinstance(source, Clip) and source.live else prefetched(items)


def _until(items: Iterator[Frame | AudioPacket], seconds: float | None) -> Generator[Frame | AudioPacket]:
    for item in items:
        if seconds is None or float(item.time) < seconds:
            yield item
        elif isinstance(item, Frame):
            return


def count_frames(source: Source, video: VideoOptions) -> int | None:
    """Number of frames to process; None if unknown."""
    limit = None if video.seconds is None else max(1, round(video.seconds * source.rate))
    known = [count for count in (limit, source.frames) if count is not None]
    return min(known) if known else None
