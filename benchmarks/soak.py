"""Hours of use in short: pictures of many sizes, good and bad, through predictor, files and server.

python benchmarks/soak.py [--minutes 30] [--json FILE]

The first fifth warms up. Exit code 1 if a good picture fails or differs from its first answer, a bad one is taken
or answered with 5xx, memory grows by more than 5 % after the warm-up, or files are left.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, field
import gc
import json
import os
from pathlib import Path
import random
import tempfile
import threading
import time
from typing import Any

import numpy as np
from refineseg.errors import RefinesegError
from refineseg.inference.batch import predict_files
from refineseg.inference.options import PredictOptions
from refineseg.system.memory import keep_freed_memory
from tests.serving.made import SEGMENT, encoded, pixels, serving, tiny

GROWTH = 1.05
SIZES = ((24, 32), (48, 64), (96, 128), (130, 170), (200, 260))
BAD = (
    b"",
    b"text",
    b"\x89PNG\r\n\x1a\n" + bytes(50),
    encoded(pixels(40, 50))[:-60],
    encoded(pixels(40, 50), "JPEG")[:99],
)


@dataclass
class Soak:
    """What was done, and how memory was, in MB, after the warm-up and at the end."""

    minutes: float = 0.0
    predictions: int = 0
    files: int = 0
    requests: int = 0
    refused: int = 0
    memory_warm: float = 0.0
    memory_end: float = 0.0
    handles_warm: int = 0
    handles_end: int = 0
    wrong: list[str] = field(default_factory=list)


def resident_mb() -> float:
    """Memory of this process that is in RAM now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def handles() -> int:
    """Open files and sockets, and threads."""
    return len(list(Path("/proc/self/fd").iterdir())) + threading.active_count()


def soak(minutes: float, folder: Path) -> Soak:
    """Mix everything at random until the time is over."""
    keep_freed_memory()
    done, draw = Soak(minutes), random.Random(0)
    segmenter, pictures = tiny(), [pixels(*size, seed=seed) for size in SIZES for seed in range(3)]
    expected: dict[tuple[int, bool], Any] = {}
    begun = time.monotonic()
    with serving(segmenter) as client:
        while (now := time.monotonic() - begun) < 60 * minutes:
            if not done.memory_warm and now > 12 * minutes:
                done.memory_warm, done.handles_warm = settled_mb(), handles()
            index, flip, turn = draw.randrange(len(pictures)), draw.random() < 0.3, draw.random()
            if turn < 0.4:
                labels = segmenter.predict(pictures[index], flip=flip).labels
                if not np.array_equal(expected.setdefault((index, flip), labels), labels):
                    done.wrong.append(f"picture {index} differs from its first answer")
                done.predictions += 1
            elif turn < 0.55:
                written(folder, pictures[index], segmenter, done)
            elif turn < 0.85:
                answer = client.post(
                    SEGMENT, content=encoded(pictures[index], draw.choice(("PNG", "JPEG", "WEBP")))
                )
                done.requests += 1
                if answer.status_code != 200:
                    done.wrong.append(f"status {answer.status_code}: {answer.text[:100]}")
            else:
                refused(draw.choice(BAD), client, segmenter, done)
    done.memory_end, done.handles_end = settled_mb(), handles()
    if done.memory_end > GROWTH * done.memory_warm:
        done.wrong.append(f"memory grew from {done.memory_warm:.0f} to {done.memory_end:.0f} MB")
    return done


def settled_mb() -> float:
    """Resident memory after a collection."""
    gc.collect()
    return resident_mb()


def written(folder: Path, picture: Any, segmenter: Any, done: Soak) -> None:
    """A picture from file to files, which go again."""
    source, out = folder / "a.png", folder / "out"
    source.write_bytes(encoded(picture))
    (entry,) = predict_files(segmenter, [source], out, PredictOptions(), ("mask", "overlay", "polygons"))
    done.files += 1
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    if entry.error or left != {"predictions.json", *entry.files.values()}:
        done.wrong.append(f"files: {entry.error} {sorted(left)}")


def refused(data: bytes, client: Any, segmenter: Any, done: Soak) -> None:
    """A bad picture, to the server and from a file."""
    status = client.post(SEGMENT, content=data).status_code
    if not 400 <= status < 500:
        done.wrong.append(f"a bad picture got {status}")
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(data)
        file.flush()
        try:
            segmenter.predict(file.name)
            done.wrong.append("a bad picture was taken")
        except RefinesegError:
            done.refused += 1


def main() -> int:
    """Print what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = soak(given.minutes, Path(folder))
    print(
        f"{done.minutes:g} minutes: {done.predictions} predictions, {done.files} files, {done.requests} requests, "
        f"{done.refused} bad pictures refused twice each"
    )
    growth = done.memory_end / done.memory_warm - 1
    print(
        f"memory {done.memory_warm:.0f} MB after the warm-up, {done.memory_end:.0f} MB at the end ({growth:+.1%})"
    )
    print(f"open files, sockets and threads: {done.handles_warm} and {done.handles_end}")
    print("\n".join(done.wrong[:20]) or "nothing wrong")
    if given.json:
        given.json.write_text(json.dumps(asdict(done), indent=1) + "\n")
    return int(bool(done.wrong))


if __name__ == "__main__":
    raise SystemExit(main())
