"""Prediction of videos, cameras and folders of frames in bounded memory.

Three threads work at the same time: one decodes ahead, the caller's predicts, one draws and encodes. Output is
written to OUT/.NAME.part and moved once complete.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from refineseg.errors import InputError
from refineseg.inference.options import PredictOptions, Tile, scales_of
from refineseg.inference.outputs import OutputKind, find_kinds, need_probabilities
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result, shares_of
from refineseg.inference.video.background import in_background
from refineseg.inference.video.clips import AudioPacket, Clip, Frame
from refineseg.inference.video.smoothing import Smoother, label_changes
from refineseg.inference.video.sources import Source, VideoOptions, count_frames, decoded, open_source
from refineseg.inference.video.writer import ClipWriter
from refineseg.labels import UInt8
from refineseg.system.files import writing
from refineseg.system.text import counted

EARLY = 0.9  # a file with a smaller share of its stated frames or length ends early
VIDEO_KINDS = ("overlay",)  # written by default
FrameOrAudio = tuple[Frame | AudioPacket, Result | None]  # a frame and its result, or an audio packet


@dataclass
class VideoOutcome:
    """The outcome of a video."""

    # outputs by kind: a video for ``overlay``, a folder of one file per frame for the others
    files: dict[str, Path] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)  # height and width
    frames: int = 0  # number of frames predicted
    seconds: float = 0.0  # time taken
    # share of all pixels by class name, largest first
    class_shares: dict[str, float] = field(default_factory=dict)
    label_changes: float = 0.0  # average share of pixels whose label changes from one frame to the next
    warning: str | None = None  # a sentence on damage to the file, or None


def check_model(segmenter: Segmenter) -> None:
    """InputError unless the model predicts classes of RGB pictures."""
    if segmenter.outputs != "classes":
        raise InputError(f"videos need a model of classes, {segmenter.card.name} predicts {segmenter.outputs}")
    if segmenter.card.channels is not None:
        raise InputError(f"videos need a model of RGB pictures, {segmenter.card.name} has other channels")


def segment_frames(
    segmenter: Segmenter, items: Iterator[Frame | AudioPacket], options: PredictOptions, video: VideoOptions
) -> Iterator[FrameOrAudio]:
    """Frames with their results, and audio packets unchanged, in order; InputError as ``check_model``."""
    check_model(segmenter)
    smoother = Smoother(video.smooth) if video.smooth else None
    for item in items:
        if isinstance(item, AudioPacket):
            yield item, None
            continue
        pixels = item.pixels
        tiling = segmenter.tiling((pixels.shape[0], pixels.shape[1]), options, video.tile)
        smooth = None if smoother is None else partial(smoother, picture=pixels)
        labels, scores = segmenter.in_windows(pixels, options, tiling, change=smooth)
        yield item, Result(labels, segmenter.card.labels, pixels, scores)


def results(
    segmenter: Segmenter,
    source: str | Path | Sequence[Path],
    smooth: float = 0.0,
    seconds: float | None = None,
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    probabilities: bool = False,
    tile: Tile = None,
) -> Iterator[Result]:
    """A Result per frame; see ``Segmenter.predict_video``."""
    options = PredictOptions(scales_of(scales), flip, probabilities)
    video = VideoOptions(smooth, tile, seconds)
    with open_source(source) as opened, closing(decoded(opened, video)) as items:
        for _, result in segment_frames(segmenter, items, options, video):
            if result is not None:
                yield result


def predict_video(
    segmenter: Segmenter,
    source: str | Path | Sequence[Path],
    out: Path,
    name: str,
    options: PredictOptions,
    save: Sequence[str] = VIDEO_KINDS,
    video: VideoOptions | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> VideoOutcome:
    """Segment a video (see ``open_source``) and write the kinds that ``save`` names under ``out``.

    The overlay is videos/NAME.mp4 (H.264, with the source's size, frame times and audio) and its legend
    videos/NAME_legend.png; other kinds are KIND/NAME/000000.png ..., one file per frame. ``progress`` is called
    with the number of frames done and in total (None if unknown).

    Raises:
        InputError: the source cannot be read, or a file cannot be written. Nothing is left behind.
        KeyboardInterrupt: interrupted; nothing is left behind. A camera's recording just ends, and is kept.
    """
    check_model(segmenter)
    video = video or VideoOptions()
    kinds = find_kinds(save)
    options = replace(options, probabilities=need_probabilities(kinds))
    part = out / f".{name}.part"
    shutil.rmtree(part, ignore_errors=True)
    began = time.perf_counter()
    try:
        with writing(part):
            with open_source(source, video.rate) as opened:
                part.mkdir(parents=True)
                outcome = _run(segmenter, opened, part, name, (options, video, tuple(save)), progress)
            outcome.files = _move_into_place(part, out, name, kinds)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    outcome.seconds = time.perf_counter() - began
    return outcome


def _run(
    segmenter: Segmenter,
    source: Source,
    part: Path,
    name: str,
    settings: tuple[PredictOptions, VideoOptions, tuple[str, ...]],
    progress: Callable[[int, int | None], None] | None,
) -> VideoOutcome:
    """Predict all frames and write their files into ``part``."""
    options, video, save = settings
    live = isinstance(source, Clip) and source.live
    total = count_frames(source, video)
    outcome, counts, changes = VideoOutcome(), np.zeros(256, np.int64), 0.0
    before: UInt8 | None = None
    with (
        _recording(part, name, save, source) as take,
        in_background(take) as write,
        closing(decoded(source, video)) as items,
    ):
        try:
            for item, result in segment_frames(segmenter, items, options, video):
                write((item, result))
                if result is None:
                    continue
                labels = result.labels
                counts += np.bincount(labels.ravel(), minlength=256)
                changes += 0.0 if before is None else label_changes(before, labels)
                before = labels
                outcome.frames += 1
                outcome.size = (labels.shape[0], labels.shape[1])
                if progress is not None:
                    progress(outcome.frames, total)
        except KeyboardInterrupt:
            if not live or not outcome.frames:
                raise
    outcome.label_changes = changes / max(1, outcome.frames - 1)
    outcome.class_shares = shares_of(counts, segmenter.class_names)
    outcome.warning = _warning(source, total, outcome.frames, video.seconds)
    return outcome


@contextmanager
def _recording(
    part: Path, name: str, save: tuple[str, ...], source: Source
) -> Iterator[Callable[[FrameOrAudio], None]]:
    """A function that writes frames as they arrive; the video is complete if the block ends without an error."""
    kinds = tuple(kind for kind in save if kind != "overlay")
    writer: ClipWriter | None = None
    numbers = count()

    def take(given: FrameOrAudio) -> None:
        nonlocal writer
        item, result = given
        if isinstance(item, AudioPacket) and writer is not None:
            writer.copy(item)
        if result is None:
            return
        if "overlay" in save:
            writer = writer or _clip_writer(part / "videos", name, source, result)
            writer.write(np.asarray(result.overlay(legend=False)), item.time)
        result.save(part, kinds, f"{name}/{next(numbers):06d}")

    try:
        yield take
    except BaseException:
        if writer is not None:
            writer.drop()
        raise
    if writer is not None:
        writer.finish()


def _clip_writer(folder: Path, name: str, source: Source, first: Result) -> ClipWriter:
    folder.mkdir()
    legend(first).save(folder / f"{name}_legend.png")
    clip = source if isinstance(source, Clip) else None
    return ClipWriter(folder / f"{name}.mp4", first.labels.shape, source.rate, clip)


def legend(result: Result) -> Image.Image:
    """A picture of all classes with their colours."""
    classes = len(result.class_names)
    all_labels = replace(result, labels=np.arange(classes, dtype=np.uint8)[:, None])
    image = all_labels.legend(52 * classes + 40, with_shares=False)
    _, top, _, bottom = ImageOps.invert(image).getbbox() or (0, 0, 0, image.height)
    return image.crop((0, 0, image.width, bottom + top))


def _warning(source: Source, total: int | None, frames: int, limit: float | None) -> str | None:
    """A sentence on what a damaged file lacks, or None; ``limit`` is the number of seconds to process, or None."""
    if not isinstance(source, Clip) or source.live:
        return None
    if source.damaged:
        return f"{source.name} is damaged: skipped {counted(source.damaged, 'part')} that cannot be decoded"
    if source.counted and limit is None:
        whole = total or 0
        return (
            f"{source.name} ends early: {frames} of {counted(whole, 'frame')}" if frames < EARLY * whole else None
        )
    # The number of frames is guessed from the average rate here; the length is not.
    length = float(source.seconds or 0) if limit is None else min(limit, float(source.seconds or 0))
    seen = float(source.reached)
    return f"{source.name} ends early: {seen:.1f} of {length:.1f} s" if seen < EARLY * length else None


def _move_into_place(part: Path, out: Path, name: str, kinds: Sequence[OutputKind]) -> dict[str, Path]:
    """Move the outputs to their final names, replacing those of an earlier run."""
    files: dict[str, Path] = {}
    for kind in kinds:
        inside = Path("videos") / f"{name}.mp4" if kind.name == "overlay" else Path(kind.folder) / name
        target = files[kind.name] = out / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind.name == "overlay":
            (part / "videos" / f"{name}_legend.png").replace(out / "videos" / f"{name}_legend.png")
        elif target.exists():
            shutil.rmtree(target)
        (part / inside).replace(target)
    return files
