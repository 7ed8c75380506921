"""Planned memory beside what is measured, for twelve settings of prediction and of a training step.

"Alive" are the tensors that exist at once while it really runs. "Process" is how far the process grows beyond its
size at rest, libraries' own workspaces included, where freed memory is given back at once (blocks above 64 KB are
mapped one by one); "heap" is the same as glibc's heap holds it, with holes.

python benchmarks/memory_plan.py [--json FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

from refineseg.bench.memory import need_of_setting
from refineseg.bench.networks import Setting, random_segmenter
from refineseg.bench.timing import peak_memory
from refineseg.inference.options import PredictOptions
from refineseg.model.memory import PeakMemory, tensors_of
import torch
from torch.nn import functional as F

SETTINGS = [
    # net, size, batch, precision, training
    ("refinenet-lw-mbv2", (512, 512), 1, "32", False),
    ("refinenet-lw-mbv2", (360, 480), 4, "32", False),
    ("refinenet-lw-mbv2", (1024, 1024), 1, "32", False),
    ("refinenet-lw-mbv2", (256, 256), 1, "bf16", False),
    ("refinenet-lw-r50", (512, 512), 1, "32", False),
    ("refinenet-lw-r101", (500, 375), 2, "32", False),
    ("refinenet-r18", (512, 512), 1, "32", False),
    ("refinenet-r101", (320, 320), 1, "32", False),
    ("refinenet-lw-mbv2", (360, 480), 2, "32", True),
    ("refinenet-lw-r18", (256, 256), 2, "32", True),
    ("refinenet-lw-r50", (256, 256), 1, "32", True),
    ("refinenet-r18", (192, 192), 1, "32", True),
]
MIB = 1 << 20
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
CPU = torch.device("cpu")


def measured(net: str, setting: Setting) -> tuple[float, float, float | None]:
    """MiB planned, alive and by the process, above what rests."""
    segmenter = random_segmenter(net, setting)
    planned = need_of_setting(segmenter, setting).working
    pictures, model, runner = setting.pictures(), segmenter.model, segmenter.runner
    if setting.training:
        model.train()
        x, labels = pictures.float() / 255, setting.labels()
        resting = [*tensors_of(model), x, labels]

        def work() -> object:
            logits = model(x.contiguous(memory_format=torch.channels_last), upsample=False)
            F.cross_entropy(F.interpolate(logits, labels.shape[-2:], mode="bilinear"), labels).backward()
            return None

        def rest() -> None:
            model.zero_grad(set_to_none=True)
    else:
        with torch.no_grad():
            resting = [*tensors_of(model), *tensors_of(runner._fast.network(pictures[:0].float())), pictures]
        arrays = pictures.permute(0, 2, 3, 1).contiguous().numpy()

        def work() -> object:
            return segmenter.segment(arrays, PredictOptions())

        def rest() -> None:
            runner._fast._copy = None  # and with it the scratch memory
            with torch.no_grad():
                runner._fast.network(pictures[:0].float())

    with PeakMemory(resting) as alive:
        work()
    rest()
    gc.collect()
    grown = peak_memory(work, CPU)
    return planned / MIB, alive.peak / MIB, None if grown is None else grown / MIB


def rows() -> list[dict[str, Any]]:
    """The twelve, measured in this process."""
    found = []
    for net, size, batch, precision, training in SETTINGS:
        planned, alive, grown = measured(net, Setting(size, batch, precision, training=training))
        found.append(
            {
                "net": net,
                "height": size[0],
                "width": size[1],
                "batch": batch,
                "precision": precision,
                "mode": "training step" if training else "prediction",
                "planned_mib": round(planned, 1),
                "alive_mib": round(alive, 1),
                "process_mib": None if grown is None else round(grown, 1),
            }
        )
    return found


def main() -> None:
    """Print and write the twelve, measured in a process of each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rows", action="store_true", help="measure in this process and print JSON")
    given = parser.parse_args()
    if given.rows:
        print(json.dumps(rows()))
        return
    given_back, heap = (
        json.loads(
            subprocess.run(
                [sys.executable, __file__, "--rows"], env=os.environ | env, stdout=subprocess.PIPE, check=True
            ).stdout
        )
        for env in (GIVEN_BACK, {})
    )
    merged = [row | {"heap_mib": held["process_mib"]} for row, held in zip(given_back, heap, strict=True)]
    print("| net | size | batch | precision | work | planned | alive | process | heap |\n" + "|---" * 9 + "|")
    for row in merged:
        cells = [row["net"], f"{row['height']}x{row['width']}", str(row["batch"]), row["precision"], row["mode"]]
        cells += [f"{row[f'{name}_mib']:,.0f}" for name in ("planned", "alive", "process", "heap")]
        print(f"| {' | '.join(cells)} |")
    if given.json:
        given.json.write_text(json.dumps({"torch": torch.__version__, "settings": merged}, indent=1) + "\n")


if __name__ == "__main__":
    main()
