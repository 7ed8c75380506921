"""Processor milliseconds that a frame of a video costs: prediction alone, and from file to file.

python benchmarks/video_rate.py drive.mp4 --frames 40 --model everyday everyday-int8

Decoding, prediction and encoding have a thread each: with a core to spare prediction sets the rate. Counted is
processor time, which other work on the machine hardly changes; OMP_NUM_THREADS=1 leaves out threads that wait.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
import time

import refineseg
from refineseg.inference.options import PredictOptions
from refineseg.inference.video.predict import predict_video


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", nargs="+", default=["everyday", "everyday-int8"])
    parser.add_argument("--frames", type=int, default=40)
    given = parser.parse_args()
    for name in given.model:
        segmenter = refineseg.load(name, engine="openvino") if name.endswith("-int8") else refineseg.load(name)
        frames = [result.image for result in islice(segmenter.predict_video(given.clip), given.frames)]
        begun = time.process_time()
        for frame in frames:
            segmenter.predict(frame)
        alone = time.process_time() - begun
        with TemporaryDirectory() as folder:
            begun = time.process_time()
            count = predict_video(segmenter, given.clip, Path(folder), "clip", PredictOptions()).frames
            whole = time.process_time() - begun
        print(
            f"{name}: {1000 * alone / len(frames):.0f} ms a frame alone, {1000 * whole / count:.0f} in all",
            flush=True,
        )


if __name__ == "__main__":
    main()
