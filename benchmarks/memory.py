"""Memory and time of RefineNet-101 against dilated convolution (torchvision's deeplabv3_resnet101, stride 8).

    python benchmarks/memory.py                     live tensors, counted without computing: seconds
    python benchmarks/memory.py --process           also what the process takes, computed for real: many minutes
    python benchmarks/memory.py --time              also CPU seconds, interleaved in one process

Live tensors: a TorchDispatchMode adds up every storage that an operation makes and takes it off when it is freed;
the peak is reported. Weights, the given pictures, and (while training) gradients and momentum stand before and are
left out. Storages do not depend on values, so this runs on the meta device. Process: the highest resident size
(VmHWM, reset before) of a process of its own, less what it had before, weights and libraries loaded. That also has
the convolutions' workspaces; in training there is a step before, so that gradients and momentum are there.

Inference: one picture, 21 classes, logits at the picture's size. Training: forward, cross-entropy at full size,
backward and SGD with momentum, batch 2 of 320x320, batch norm frozen. Nothing is recomputed; all is float32 and
channels last.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import median
import subprocess
import sys
import time
from typing import Any
import weakref

from refineseg.model import create_model
from refineseg.training.optimizer import freeze_batch_norm
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DILATED = "deeplabv3_resnet101"
NETWORKS = (DILATED, "refinenet-r101", "refinenet-lw-r101")
SIZES = ((512, 512), (1024, 1024), (1024, 2048))
CLASSES, MEBIBYTE = 21, 1 << 20
BATCH, CROP = 2, 320
TRAINING = "training step"
CASES = {**{f"{h}x{w}": (1, h, w) for h, w in SIZES}, TRAINING: (BATCH, CROP, CROP)}


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that operations have made and that are still referenced; ``peak`` is their most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then look at what it made."""
        given = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                storage = made.untyped_storage()
                if storage._cdata not in self._known | given:  # else a view, or done in place
                    self._known.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return result

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def network(name: str, device: str) -> nn.Module:
    """One of the three, with random weights."""
    from torchvision.models.segmentation import deeplabv3_resnet101

    with torch.device(device):
        if name == DILATED:
            dilated: nn.Module = deeplabv3_resnet101(weights=None, weights_backbone=None, num_classes=CLASSES)
            return dilated
        return create_model(name, CLASSES)


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Of either kind of network."""
    result = model(images)
    full: Tensor = result["out"] if isinstance(result, dict) else result
    return full


class Case:
    """A network made ready for one of ``CASES``; calling it does the work once."""

    def __init__(self, name: str, case: str, device: str) -> None:
        self.training = case == TRAINING
        layout = torch.channels_last  # as our predictor and training have it, for all
        self.model = network(name, device).train(self.training).to(memory_format=layout)
        batch, height, width = CASES[case]
        self.images = torch.zeros(batch, 3, height, width, device=device).contiguous(memory_format=layout)
        if not self.training:
            return
        self.labels = torch.zeros(batch, height, width, dtype=torch.long, device=device)
        freeze_batch_norm(self.model)
        trained = [value for value in self.model.parameters() if value.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9, weight_decay=5e-4)

    def warm_up(self) -> None:
        """Have libraries loaded; in training also gradients and momentum."""
        if self.training:
            self()
            return
        with torch.no_grad():
            logits(self.model, self.images[..., :64, :64])

    def __call__(self) -> None:
        """Predict once, or train one step; gradients stay allocated."""
        if not self.training:
            with torch.no_grad():
                logits(self.model, self.images)
            return
        loss = F.cross_entropy(logits(self.model, self.images), self.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        del loss
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)


def live(name: str, case: str) -> float:
    """Peak MiB of live tensors."""
    work = Case(name, case, "meta")
    work.warm_up()
    with LiveBytes() as counted:
        work()
    return float(counted.peak / MEBIBYTE)


def process(name: str, case: str) -> tuple[float, float]:
    """(MiB above what stood before, CPU seconds) of doing the work once in this process."""
    work = Case(name, case, "cpu")
    work.warm_up()
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    start = time.process_time()
    work()
    return (_status("VmHWM") - before) / 1024, time.process_time() - start


def _status(field: str) -> int:
    """A field of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def in_process(name: str, case: str) -> tuple[float, float]:
    """``process`` in a process of its own, whose freed memory goes back at once."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--one", name, case]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    size, seconds = json.loads(done.stdout)
    return size, seconds


def timed(case: str, repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each network, in turns."""
    works = {name: Case(name, case, "cpu") for name in NETWORKS}
    for work in works.values():
        work.warm_up()
    seconds: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return seconds


def main() -> None:
    """Measure, print, write the JSON; earlier figures that are not measured now are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--process", nargs="*", choices=CASES, help="cases to compute for real (default: all)")
    parser.add_argument("--time", nargs="*", choices=CASES, help="cases to time (default: 512x512 and training)")
    parser.add_argument("--repeats", type=int, default=3)
    default = Path(__file__).parent / "results" / "memory.json"
    parser.add_argument("-o", "--output", type=Path, default=default)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(process(*options.one)))
        return
    content = json.loads(options.output.read_text()) if options.output.exists() else {"process": {}, "seconds": {}}
    content |= {"torch": torch.__version__, "threads": torch.get_num_threads()}
    content["live"] = {case: {name: round(live(name, case), 1) for name in NETWORKS} for case in CASES}
    report("live tensors, MiB", content["live"])
    for case in CASES if options.process == [] else options.process or ():
        content["process"][case] = {name: round(in_process(name, case)[0], 1) for name in NETWORKS}
        report("process, MiB", {case: content["process"][case]})
        write(options.output, content)
    for case in ("512x512", TRAINING) if options.time == [] else options.time or ():
        seconds = timed(case, options.repeats)
        content["seconds"][case] = {
            name: [round(value, 3) for value in values] for name, values in seconds.items()
        }
        report("median CPU seconds", {case: {name: median(values) for name, values in seconds.items()}})
    write(options.output, content)


def write(path: Path, content: dict[str, Any]) -> None:
    """The JSON so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def report(title: str, table: dict[str, dict[str, float]]) -> None:
    """One line a case: the figures, and the ratios to the dilated network."""
    for case, row in table.items():
        figures = ", ".join(f"{name} {value:.1f} ({value / row[DILATED]:.2f})" for name, value in row.items())
        print(f"{title}, {case}: {figures}", flush=True)


if __name__ == "__main__":
    main()
