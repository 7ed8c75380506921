"""Flicker of labels in a video, and what smoothing over time costs on labelled frames.

python benchmarks/video_flicker.py --model camvid --camvid DIR [--clip FILE] [--frames 101] [--clip-scale 0.5]
    [--smooth 0.6,0.8,0.9] [--cache DIR] [--json FILE]

Labelled: CamVid's val split is one drive, labelled at 15 frames per second (0016E5_07959, 07961 ...), so that
every frame of a real sequence has its truth. Panned: windows that move over single labelled frames, with noise on
top, so that every frame has a label and the true motion is known. Clip: a video without labels.

Flicker is what label changes are left when motion is taken out: the share of pixels whose label differs from the
label, one frame earlier, of the place where the pixel was. In the panned sequences that place is known; else it is
found by matching blocks (inference/video/smoothing.py, for all rows alike). Beside it stands a figure that needs
no motion: pixels whose label differs from the frame before and the frame after, which have the same one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from refineseg.data import open_data
from refineseg.evaluation.metrics import confusion_matrix, scores
from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.blending import Strip
from refineseg.inference.tiles.tiling import make_tiling
from refineseg.inference.video.clips import Frame, open_clip
from refineseg.inference.video.smoothing import Smoother, cells_of, motion
from refineseg.labels import UInt8
from refineseg.loading import load

PANS, PAN_FRAMES, WINDOW, STEP = 4, 10, (256, 352), (2, 6)  # STEP: pixels down and right from frame to frame
NOISE = 8.0  # grey levels, standard deviation
GAIN = 0.06  # relative brightness, standard deviation from frame to frame
WARM = 3  # frames of a panned sequence before which nothing is judged: smoothing has no past yet


@dataclass
class Sequence:
    """Frames in order, with their truth and their true motion in pixels where these are known."""

    name: str
    pictures: list[UInt8]
    truth: list[UInt8] | None = None
    shift: tuple[int, int] | None = None
    scale: float = 1.0
    warm: int = 0
    strips: list[Strip] = field(default_factory=list)
    flows: list[NDArray[np.float32]] = field(default_factory=list)


def labelled(data: Any, frames: int) -> Sequence:
    """The val split in its order in time."""
    samples = sorted(data.split("val"), key=lambda sample: sample.image.name)
    pairs = [data.read(sample) for sample in samples[:frames]]
    return Sequence("labelled", [picture for picture, _ in pairs], [truth for _, truth in pairs])


def panned(whole: Sequence) -> Iterator[Sequence]:
    """Windows that move over single labelled frames, every frame with noise of its own."""
    assert whole.truth is not None
    rng = np.random.default_rng(0)
    for index in np.linspace(0, len(whole.pictures) - 1, PANS).astype(int):
        pictures, truth = [], []
        for step in range(PAN_FRAMES):
            top, left = step * STEP[0], step * STEP[1]
            place = (slice(top, top + WINDOW[0]), slice(left, left + WINDOW[1]))
            picture = whole.pictures[index][place] * (1 + rng.normal(0, GAIN))
            picture = picture + rng.normal(0, NOISE, picture.shape)
            pictures.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
            truth.append(np.ascontiguousarray(whole.truth[index][place]))
        yield Sequence(f"panned {index}", pictures, truth, STEP, warm=WARM)


def from_clip(path: Path, frames: int, scale: float) -> Sequence:
    """The first frames of a video, seen at ``scale``."""
    pictures: list[UInt8] = []
    with open_clip(path) as clip:
        for item in clip:
            if isinstance(item, Frame):
                pictures.append(item.pixels)
                if len(pictures) == frames:
                    break
    return Sequence("clip", pictures, scale=scale)


def score(sequence: Sequence, segmenter: Segmenter, cache: Path | None) -> None:
    """Run the network over all frames once; scores are kept as float16 in ``cache``."""
    options = PredictOptions((sequence.scale,))
    greys = [cells_of(picture) for picture in sequence.pictures]
    sequence.flows = [motion(before, now) for before, now in pairwise(greys)]
    for index, picture in enumerate(sequence.pictures):
        kept = None if cache is None else cache / f"{sequence.name} {index}.npy"
        if kept is not None and kept.exists():
            scored = np.load(kept).astype(np.float32)
        else:
            scored = network(segmenter, picture, options)
            if kept is not None:
                np.save(kept, scored.astype(np.float16))
        sequence.strips.append(Strip(0, picture.shape[0], (scored,), (0,), (scored.shape[2],)))


def network(segmenter: Segmenter, picture: UInt8, options: PredictOptions) -> NDArray[np.float32]:
    """Scores of a whole picture, 1xKxhxw."""
    size = (picture.shape[0], picture.shape[1])
    taken: list[Strip] = []

    def take(strip: Strip) -> Strip:
        taken.append(strip)
        return strip

    tiling = make_tiling(size, max(size), 0)
    for _ in segmenter.strips(tiling, lambda t, b, x, r: picture[t:b, x:r], options, change=take):
        pass
    return taken[0].maps[0]


def labels_of(sequence: Sequence, strength: float) -> list[UInt8]:
    """Labels of all frames."""
    smoother, found = Smoother(strength), []
    for strip, picture in zip(sequence.strips, sequence.pictures, strict=True):
        smooth = smoother(strip, picture).maps[0]
        size = (picture.shape[0], picture.shape[1])
        array_ops = ArrayOps()
        found.append(array_ops.largest(array_ops.upsampled(smooth, 0, size[0], size))[0])
    return found[sequence.warm :]


def flicker(sequence: Sequence, labels: list[UInt8]) -> float:
    """Share of label changes that are left when motion is taken out."""
    left = []
    for index, (before, now) in enumerate(pairwise(labels)):
        height, width = now.shape
        rows, columns = np.indices(now.shape)
        if sequence.shift is not None:
            y, x = rows + sequence.shift[0], columns + sequence.shift[1]
        else:
            flow = sequence.flows[sequence.warm + index]
            down, right = (
                4 * np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
                for plane in flow
            )
            y, x = np.rint(rows + down).astype(int), np.rint(columns + right).astype(int)
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        left.append(float((before[y[inside], x[inside]] != now[inside]).mean()))
    return float(np.mean(left))


def short_lived(labels: list[UInt8]) -> float:
    """Share of pixels whose label differs from that of both neighbouring frames, which have the same one."""
    three = zip(labels, labels[1:], labels[2:], strict=False)
    return float(np.mean([((a != b) & (a == c)).mean() for a, b, c in three]))


def figures(sequences: list[Sequence], strength: float, classes: int) -> dict[str, float]:
    """One row, of one sequence or of several alike ones together."""
    confusion = np.zeros((classes, classes), np.int64)
    flickers, short = [], []
    for sequence in sequences:
        labels = labels_of(sequence, strength)
        flickers.append(flicker(sequence, labels))
        short.append(short_lived(labels))
        for truth, mine in zip((sequence.truth or [])[sequence.warm :], labels, strict=False):
            confusion += confusion_matrix(truth, mine, classes)
    row = {"flicker": float(np.mean(flickers)), "short_lived": float(np.mean(short))}
    return row | ({"mean_iou": float(scores(confusion).mean_iou)} if confusion.any() else {})


def main() -> None:
    """Print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="camvid")
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--frames", type=int, default=101, help="of the labelled sequence and of the clip")
    parser.add_argument("--clip-scale", type=float, default=0.5)
    parser.add_argument("--smooth", default="0.6,0.8,0.9")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    segmenter = load(options.model, "cpu")
    drive = labelled(open_data(f"camvid:{options.camvid}"), options.frames)
    groups = {"labelled": [drive], "panned": list(panned(drive))}
    if options.clip:
        groups["clip"] = [from_clip(options.clip, options.frames, options.clip_scale)]
    result: dict[str, Any] = {"model": options.model}
    for name, sequences in groups.items():
        for sequence in sequences:
            score(sequence, segmenter, options.cache)
        rows = {}
        for strength in (0.0, *map(float, options.smooth.split(","))):
            row = rows[str(strength)] = figures(sequences, strength, segmenter.card.labels.num_classes)
            plain = rows["0.0"]
            row["flicker_left"] = row["flicker"] / plain["flicker"]
            row["short_lived_left"] = row["short_lived"] / plain["short_lived"]
            print(name, strength, {key: round(value, 4) for key, value in row.items()}, flush=True)
        frames = sum(len(sequence.pictures) for sequence in sequences)
        result[name] = {"frames": frames, "smooth": {key: rounded(row) for key, row in rows.items()}}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


def rounded(row: dict[str, float]) -> dict[str, float]:
    """To what the number of pixels allows."""
    return {key: round(value, 5) for key, value in row.items()}


if __name__ == "__main__":
    main()
