"""Pictures per second of one process and of a Ray cluster of workers on this machine, in turn.

python benchmarks/ray_speed.py [--pictures 80] [--workers 2] [--repeats 2] [--kill] [--json FILE]

Pictures of 480x360 made by code, the bundled model. The one process uses as many threads as there are workers; a
worker has one. Both rates leave out the start: for the cluster it is taken between the first and the last shard.
With --kill a worker is killed as soon as the first shard is there.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import signal
import tempfile
import threading
import time

from PIL import Image
import refineseg
from refineseg.inference.batch import predict_files
from refineseg.inference.options import PredictOptions
from refineseg.ray import predict
from refineseg.system.parquet import open_parquet
from tests.data.made import made_pair
import torch


def one_process(folder: Path, out: Path, threads: int) -> float:
    """Seconds of ``predict_files`` in this process, the model loaded before."""
    torch.set_num_threads(threads)
    segmenter = refineseg.load("camvid", device="cpu")
    segmenter.predict(next(folder.iterdir()))
    begun = time.perf_counter()
    predict_files(segmenter, sorted(folder.iterdir()), out, PredictOptions(), ("mask",))
    return time.perf_counter() - begun


def on_the_cluster(folder: Path, out: Path, workers: int, kill: bool) -> tuple[float, float, int]:
    """Seconds in all, seconds between the first and the last shard for the pictures in between, pictures."""
    if kill:
        threading.Thread(target=kill_one, args=(out,), daemon=True).start()
    done = predict(folder, out, "camvid", workers=workers, shard=5)
    parts = sorted((out / "parts").glob("*.parquet"), key=lambda path: path.stat().st_mtime)
    rows = [row for part in parts for row in open_parquet(part).read().to_pylist()]
    names = [row["name"] for row in rows]
    if len(set(names)) != len(names) or len(names) != len(list(folder.iterdir())) or done.errors:
        raise RuntimeError("expected every picture once")
    first, last = (path.stat().st_mtime for path in (parts[0], parts[-1]))
    return done.seconds, last - first, 5 * (len(parts) - 1)


def kill_one(out: Path) -> None:
    """SIGKILL to the worker that wrote the first shard."""
    while not (done := sorted((out / "parts").glob("part-*.parquet"))):
        time.sleep(0.02)
    os.kill(int(open_parquet(done[0]).read().to_pylist()[0]["worker"].rpartition(":")[2]), signal.SIGKILL)


def main() -> int:
    """Print both, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=80)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "in").mkdir()
        for index in range(given.pictures):
            Image.fromarray(made_pair(index, 8, (360, 480))[0]).save(place / "in" / f"p{index:05}.jpg")
        for turn in range(given.repeats):
            single = given.pictures / one_process(place / "in", place / f"one{turn}", given.workers)
            whole, between, pictures = on_the_cluster(
                place / "in", place / f"ray{turn}", given.workers, given.kill
            )
            figures.append({"one": single, "ray": pictures / between, "ray_whole": given.pictures / whole})
            print(
                f"one process, {given.workers} threads: {single:.2f} pictures/s; "
                f"{given.workers} workers of one thread: {pictures / between:.2f} pictures/s "
                f"({pictures / between / single:.2f} times), "
                f"{whole:.1f} s with the start of the cluster",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
