"""A generated tiled TIFF predicted in windows: peak memory, agreement with the whole picture, error near borders.

python benchmarks/large_picture.py --model camvid [--side 20000] [--tile auto] [--windows 60]
    [--check 1024x1536,1000x1390] [--check-tile 768] [--picture FILE] [--exact-strides] [--json FILE]

The first part predicts a picture of --side x --side from disk to disk in a process of its own and reports that
process's peak resident memory and seconds; with --windows it is interrupted after so many, which is said. The
second part compares tiles with the whole picture where it fits: on parts of --picture, of the sizes (height x
width) that --check names, or on generated ones. --exact-strides sets that field of the network, however it was
trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
import json
from pathlib import Path
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from refineseg.data import read_image
from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.predict import predict_large
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.labels import UInt8
from refineseg.loading import load
from refineseg.model.refinenet import RefineNet

BLOCK = 512  # side of the TIFF's tiles
NEAR = 32  # pixels from a window's edge that count as near


def write_picture(path: Path, side: int) -> None:
    """A tiled, deflated TIFF of ``side`` x ``side``, made block by block."""
    import tifffile

    grain = probe_picture(2 * BLOCK, 2 * BLOCK)
    blocks = -(-side // BLOCK)

    def made() -> Iterator[UInt8]:
        for row in range(blocks):
            for column in range(blocks):
                y, x = (row * 197) % BLOCK, (column * 311) % BLOCK
                yield np.ascontiguousarray(grain[y : y + BLOCK, x : x + BLOCK])

    tifffile.imwrite(
        path,
        made(),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(BLOCK, BLOCK),
        photometric="rgb",
        compression="zlib",
        bigtiff=True,
    )


def predict_alone(arguments: argparse.Namespace) -> dict[str, Any]:
    """Predict in this process, and its peak memory."""
    segmenter = load(arguments.model, "cpu")
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    out = Path(arguments.alone)
    save = tuple(arguments.save.split(","))
    seen = [0, 0]

    def count(done: int, total: int) -> None:
        seen[:] = done, total
        if done == arguments.windows:
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        path = out / "large.tif"
        predict_large(segmenter, path, out, PredictOptions(), save, as_tile(arguments.tile), progress=count)
    return {
        "size": [arguments.side] * 2,
        "windows": seen[0],
        "of_windows": seen[1],
        "save": list(save),
        "seconds": round(time.perf_counter() - start, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "with_weights_loaded_mib": round(idle / 1024),
        "overlap": segmenter.runner.overlap,
        "estimated_bytes_per_pixel": round(segmenter.runner.bytes_per_pixel, 1),
    }


def opened(model: str, exact: bool) -> Segmenter:
    """The model, with exact strides on request."""
    segmenter = load(model, "cpu")
    if not exact:
        return segmenter
    network = RefineNet(replace(segmenter.model.config, exact_strides=True))
    network.load_state_dict(segmenter.model.state_dict())
    return Segmenter.from_network(network, segmenter.card, "cpu")


def agreement(segmenter: Segmenter, picture: UInt8, tile: Tile) -> dict[str, Any]:
    """Labels of tiles against labels of the whole, near borders of windows and elsewhere."""
    size = (picture.shape[0], picture.shape[1])
    tiling = segmenter.tiling(size, PredictOptions(), tile or "auto")
    wrong = segmenter.predict(picture).labels != segmenter.predict(picture, tile=tile).labels
    near = np.zeros(size, np.bool_)
    for axis, windows in enumerate((tiling.rows, tiling.columns)):
        for edge in {edge for window in windows for edge in window} - {0, size[axis]}:
            part = slice(max(0, edge - NEAR), edge + NEAR)
            near[part if axis == 0 else (slice(None), part)] = True
    shares = [float(wrong[place].mean()) if place.any() else 0.0 for place in (near, ~near)]
    return {
        "size": list(size),
        "tile": tile,
        "windows": tiling.windows,
        "overlap": tiling.overlap,
        "agreement": round(1 - float(wrong.mean()), 6),
        "error_near_borders": round(shares[0], 6),
        "error_elsewhere": round(shares[1], 6),
        "ratio": round(shares[0] / shares[1], 3) if shares[1] else None,
    }


def as_tile(text: str) -> Tile:
    """``auto`` or a number."""
    return "auto" if text == "auto" else int(text)


def main() -> None:
    """Print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--save", default="mask,overlay")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--windows", type=int, help="stop after so many")
    parser.add_argument("--check", default="1024x1536,1000x1390")
    parser.add_argument("--check-tile", default="768")
    parser.add_argument("--exact-strides", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(predict_alone(options)))
        return
    result: dict[str, Any] = {}
    if options.side:
        with tempfile.TemporaryDirectory() as folder:
            write_picture(Path(folder) / "large.tif", options.side)
            command = [sys.executable, __file__, "--model", options.model, "--tile", options.tile]
            command += ["--save", options.save, "--alone", folder, "--side", str(options.side)]
            command += ["--windows", str(options.windows)] if options.windows else []
            made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            result["from_disk"] = json.loads(made.stdout)
    if options.check:
        segmenter = opened(options.model, options.exact_strides)
        result["exact_strides"] = segmenter.model.config.exact_strides
        result["against_whole"] = []
        for height, width in (map(int, size.split("x")) for size in options.check.split(",")):
            picture = read_image(options.picture) if options.picture else probe_picture(height, width)
            part = np.ascontiguousarray(picture[-height:, :width])
            result["against_whole"].append(agreement(segmenter, part, as_tile(options.check_tile)))
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
