"""refineseg predict."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from refineseg.cli.common import console, errors, progress_bar
from refineseg.cli.options import AnyModel, Device, Precision, parse_channels, parse_names, parse_scales
from refineseg.errors import InputError
from refineseg.system.files import atomic_write
from refineseg.system.lock import LOCK, locked
from refineseg.system.plugins import module_names
from refineseg.system.text import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from refineseg.inference.batch import Entry
    from refineseg.inference.options import Tile
    from refineseg.inference.video.sources import VideoInput, VideoOptions

OUTPUTS = [name.replace("_", "-") for name in module_names("refineseg.inference.outputs")]


def predict(
    output: Annotated[
        Path, Option("--output", "-o", help="Output folder: masks/, overlays/, videos/, predictions.json.")
    ],
    inputs: Annotated[
        list[str] | None, Argument(metavar="IMAGE|VIDEO|FOLDER|GLOB", help="Pictures and videos to segment.")
    ] = None,
    model: AnyModel = "everyday",
    scales: Annotated[str, Option(help="Scales to average over, such as 0.75,1.0,1.25.")] = "1.0",
    flip: Annotated[bool, Option("--flip", help="Also average over the mirrored picture.")] = False,
    channels: Annotated[
        str | None, Option(help="Channels of a TIFF to use as red, green and blue, counted from 1, such as 3,2,1.")
    ] = None,
    tile: Annotated[
        str | None, Option(help="Process large pictures in windows: auto, or a side in pixels such as 1024.")
    ] = None,
    save: Annotated[
        str | None,
        Option(
            help=f"Outputs, comma-separated: {', '.join(OUTPUTS)}. "
            "Default: mask,overlay; for videos: overlay; for depth models: depth,depth-picture."
        ),
    ] = None,
    smooth: Annotated[
        float, Option(help="Temporal smoothing of videos: weight of the past scores, below 1, such as 0.8.")
    ] = 0.0,
    source: Annotated[str | None, Option(help="Camera number, such as 0, or stream address (rtsp://...).")] = None,
    sequence: Annotated[
        bool, Option("--sequence", help="Treat the pictures of each folder as the frames of a video.")
    ] = False,
    fps: Annotated[float, Option(help="Frames per second of a --sequence.")] = 25.0,
    seconds: Annotated[
        float | None, Option(help="Seconds of video or camera to process. Default: all, or until Ctrl-C.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "32",
    engine: Annotated[
        str, Option(help="Engine: torch, onnxruntime, openvino, or auto (the fastest that is ready).")
    ] = "auto",
    overwrite: Annotated[bool, Option("--overwrite", help="Write to a folder that is not empty.")] = False,
) -> int:
    """Segment pictures and videos.

    Example: [bold]refineseg predict street.jpg photos/ 'more/*.png' -o out --save mask,overlay[/bold]

    Example: [bold]refineseg predict drive.mp4 -o out --smooth 0.8[/bold]
    """
    from refineseg.inference.batch import left_out, predict_files
    from refineseg.inference.options import PredictOptions
    from refineseg.inference.video.sources import VideoOptions
    from refineseg.loading import load

    work = collect_inputs(inputs or [], source, sequence, VideoOptions(smooth, None, seconds, fps))
    side = parse_tile(tile)
    kinds = None if save is None else tuple(parse_names(save))
    options = PredictOptions(parse_scales(scales), flip, False, parse_channels(channels))
    with locked(output):
        check_output(output, overwrite, resumable=side is not None)
        earlier = modification_times(output) if overwrite else {}
        segmenter = load(model, device, precision, engine, say=errors.print)
        single = len(work) == 1 and not isinstance(work[0], Path)
        with progress_bar("frames" if single else "pictures") as bar:
            shown = PredictProgress(bar, work)
            entries = predict_files(segmenter, work, output, options, kinds, shown.entry, side, shown.step)
        report_skipped(left_out(inputs or []), output)
        report_earlier(earlier, output)
    return report(entries, output)


def report_skipped(files: list[Path], output: Path) -> None:
    """List other files in the input folders, on the terminal and in predictions.json."""
    if not files:
        return
    counts = Counter(path.suffix.lower() or "no suffix" for path in files)
    shown = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())
    errors.print(f"note: skipped, not a picture or video: {shown}, such as {files[0].name}")
    written = output / "predictions.json"
    values = json.loads(written.read_text(encoding="utf-8"))
    values["left_out"] = [str(path) for path in files]
    atomic_write(written, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def modification_times(output: Path) -> dict[Path, int]:
    """Modification times in nanoseconds of the files in the output folder, except hidden ones."""
    found = (path for path in output.rglob("*") if path.is_file())
    seen = (path for path in found if not any(part.startswith(".") for part in path.relative_to(output).parts))
    return {path: path.stat().st_mtime_ns for path in seen}


def report_earlier(before: dict[Path, int], output: Path) -> None:
    """Say how many files were in the output folder before this run and were not replaced by it."""
    now = modification_times(output) if before else {}
    left = sorted(path for path, changed in before.items() if now.get(path) == changed)
    if left:
        name = left[0].relative_to(output)
        errors.print(f"note: {counted(left, 'file')} of earlier runs left in {output}, such as {name}")


def collect_inputs(
    given: list[str], source: str | None, sequence: bool, options: VideoOptions
) -> list[Path | VideoInput]:
    """The inputs. InputError if there are none, or one is missing."""
    from refineseg.inference.batch import find_inputs
    from refineseg.inference.video.clips import is_video
    from refineseg.inference.video.sources import VideoInput

    if not given and source is None:
        raise InputError("no input: give pictures, videos, folders or globs, or --source 0 for a camera")
    work: list[Path | VideoInput] = []
    if sequence:
        for text in given:
            paths = tuple(path for path in find_inputs([text]) if not is_video(path))
            if not paths:
                raise InputError(f"--sequence: no pictures found in {text}")
            work.append(VideoInput(paths, options))
    else:
        work += [VideoInput(path, options) if is_video(path) else path for path in find_inputs(given)]
    if source is not None:
        work.append(VideoInput(source, options))
    return work


def check_output(output: Path, overwrite: bool, resumable: bool) -> None:
    """InputError for a non-empty folder, unless allowed or to resume an interrupted run."""
    if overwrite or (resumable and any(output.glob(".*.part/state.json"))):
        return
    if any(item.name != LOCK and not item.match(".*.part") for item in output.iterdir()):
        raise InputError(f"output folder {output} is not empty: add --overwrite, or choose another with -o")


class PredictProgress:
    """The progress bar, of inputs, or of frames of a single video."""

    def __init__(self, bar: Progress, work: list[Path | VideoInput]) -> None:
        self.bar, self.work = bar, work
        self.single = len(work) == 1 and not isinstance(work[0], Path)
        self.task = bar.add_task("predicting", total=None if self.single else len(work), note="")
        self.done = 0
        self.began = time.monotonic()

    def entry(self, entry: Entry) -> None:
        """An input is finished."""
        name = Path(str(entry.input)).name
        notes = [f"note: {name}: {note}" for note in entry.notes]
        for line in (entry.error and f"error: {entry.error}", entry.video.get("warning"), *notes):
            if line:
                errors.print(line)
        self.done += 1
        self.began = time.monotonic()
        if not self.single:
            self.bar.update(self.task, advance=1, note="")

    def step(self, done: int, total: int | None) -> None:
        """A window or frame is finished."""
        if self.single:
            self.bar.update(self.task, completed=done, total=total)
        elif isinstance(self.work[self.done], Path):
            self.bar.update(self.task, note=f"window {done} of {total}")
        else:
            rate = done / max(time.monotonic() - self.began, 1e-9)
            self.bar.update(self.task, note=f"frame {done} of {total or '?'}, {rate:.1f}/s")


def report(entries: list[Entry], output: Path) -> int:
    """Print a summary; returns the exit code."""
    done = [entry for entry in entries if entry.error is None]
    for entry in done[:20]:
        if entry.depth:
            low, high, unit = entry.depth["low"], entry.depth["high"], entry.depth["unit"]
            console.print(f"{Path(str(entry.input)).name}: depth {low:.4g} to {high:.4g}, {unit}")
            continue
        shares = ", ".join(f"{name} {share:.0%}" for name, share in list(entry.class_shares.items())[:5])
        if entry.video:
            rate = f"{entry.video['frames_per_second']:.1f}/s"
            shares = f"{counted(entry.video['frames'], 'frame')}, {rate}; {shares}"
        console.print(f"{Path(str(entry.input)).name}: {shares}")
    if len(done) > 20:
        console.print(f"... and {len(done) - 20} more, in {output / 'predictions.json'}")
    stems = Counter(Path(str(entry.input)).stem.lower() for entry in done)
    alike = sum(count for count in stems.values() if count > 1)
    if alike:
        errors.print(f"note: {alike} inputs have the same names: predictions.json lists the outputs of each")
    written = ", ".join(sorted({str(Path(file).parent) + "/" for entry in done for file in entry.files.values()}))
    noun = "video" if all(entry.video for entry in done) and done else "input"
    noun = "picture" if not any(entry.video for entry in done) else noun
    console.print(f"{len(done)} of {counted(entries, noun)} done; results in {output}/ ({written or 'nothing'})")
    return 2 if len(done) < len(entries) else 0


def parse_tile(text: str | None) -> Tile:
    """``auto``, a number of pixels or None; InputError otherwise."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise InputError(f"expected --tile auto or a number of pixels such as 1024, got {text!r}")
