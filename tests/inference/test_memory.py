"""Planned memory against the tensors that are alive when it really runs."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from refineseg.bench.networks import Setting, random_segmenter
from refineseg.errors import TooLargeError
from refineseg.inference import memory
from refineseg.inference.array_ops import ArrayOps
from refineseg.inference.options import PredictOptions
from refineseg.inference.runners.torch_module import NetworkRunner
from refineseg.model.memory import MemoryNeed, PeakMemory, tensors_of
from refineseg.system.memory import free_addresses, free_memory

SETTINGS = [
    ("refinenet-lw-mbv2", (128, 160), 1, "32"),
    ("refinenet-lw-mbv2", (97, 131), 2, "32"),
    ("refinenet-lw-r18", (160, 128), 1, "32"),
    ("refinenet-r18", (96, 96), 1, "32"),
]
LARGE = [
    ("refinenet-lw-mbv2", (512, 512), 1, "32"),
    ("refinenet-lw-mbv2", (360, 480), 4, "32"),
    ("refinenet-lw-r101", (512, 512), 1, "32"),
    ("refinenet-r101", (320, 320), 1, "32"),
]


def test_alive_counts_by_hand() -> None:
    weight = torch.ones(1000)
    with PeakMemory([weight]) as alive:
        weight.view(10, 100)  # costs nothing
        x = torch.ones(100)  # 400 bytes
        y = x + 1  # 400 more
        del x
        z = y.repeat(4)  # 1600 more
        z.add_(1)
    assert alive.peak == 2000
    assert MemoryNeed(10, alive.peak).peak == 2010


@pytest.mark.parametrize(
    ("net", "size", "batch", "precision"), [*SETTINGS, *(pytest.param(*x, marks=pytest.mark.slow) for x in LARGE)]
)
def test_prediction_is_planned_within_a_tenth(net: str, size: tuple[int, int], batch: int, precision: str) -> None:
    setting = Setting(size, batch, precision, 11)
    segmenter = random_segmenter(net, setting)
    runner = segmenter.runner
    assert isinstance(runner, NetworkRunner)
    planned = runner.need((batch, 3, *size))
    assert planned is not None
    images = ArrayOps().unit(setting.pictures().permute(0, 2, 3, 1).numpy())
    with torch.inference_mode():
        resting = [
            *tensors_of(segmenter.model),
            *tensors_of(runner._fast.network(torch.zeros(0, 3, 8, 8))),
            torch.from_numpy(images),
        ]
        with PeakMemory(resting) as alive:
            runner(images)
    assert alive.peak == pytest.approx(planned.working, rel=0.1)


@pytest.mark.parametrize("options", [PredictOptions((0.5, 1.0)), PredictOptions((1.0,), True, probabilities=True)])
def test_views_and_results_are_planned(options: PredictOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What NumPy allocates beside the network, which is taken out here: planned is no less, and not twice it."""
    segmenter = random_segmenter("refinenet-lw-mbv2", Setting(classes=40))
    picture = np.zeros((1, 700, 900, 3), np.uint8)
    low = np.zeros((1, 40, 175, 225), np.float32)
    monkeypatch.setattr(
        NetworkRunner, "__call__", lambda _runner, x: low[..., : x.shape[2] // 4, : x.shape[3] // 4]
    )
    monkeypatch.setattr(NetworkRunner, "need", lambda _runner, shape: MemoryNeed(0, 4 * 3 * shape[2] * shape[3]))
    planned = segmenter.memory.need((700, 900), options)
    assert planned is not None
    segmenter.segment(picture, options)  # fills caches
    tracemalloc.start()
    segmenter.segment(picture, options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.8 * peak < planned.working < 2 * peak


def test_several_scales_need_what_the_largest_needs() -> None:
    segmenter = random_segmenter("refinenet-lw-mbv2", Setting(classes=11))
    one, large = segmenter.memory.need((64, 64)), segmenter.memory.need((64, 64), PredictOptions((2.0,)))
    assert one is not None
    assert large is not None
    assert large.working > 3 * one.working


def test_a_picture_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = random_segmenter("refinenet-lw-mbv2", Setting(classes=11))
    monkeypatch.setattr(memory, "PLANNED", 0)
    monkeypatch.setattr(NetworkRunner, "free_memory", lambda _runner: 1 << 20)
    picture = Setting((64, 96)).pictures()[0].permute(1, 2, 0).numpy()
    with pytest.raises(TooLargeError, match=r"96x64 in one piece needs .* GiB, .*--tile auto"):
        segmenter.predict(picture)
    monkeypatch.setattr(NetworkRunner, "free_memory", lambda _runner: 1 << 34)
    assert segmenter.predict(picture).labels.shape == (64, 96)


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_free_addresses_are_those_below_the_limit(tmp_path: Path) -> None:
    limits = "Limit             Soft Limit           Hard Limit Units\nMax address space {:20} unlimited  bytes\n"
    status = {"proc/self/status": "Name:\tpython\nVmPeak:\t 90 kB\nVmSize:\t 70 kB\n"}
    for name, limit, free in (("some", 100 * 1024, 30 * 1024), ("none", 10, 0), ("endless", "unlimited", None)):
        place = made(tmp_path / name, status | {"proc/self/limits": limits.format(limit)})
        assert free_addresses(place) == free
    assert free_addresses(tmp_path / "nowhere") is None


def test_free_memory_minds_control_groups(tmp_path: Path) -> None:
    meminfo = {"proc/meminfo": "MemTotal: 100 kB\nMemAvailable:     80 kB\n"}
    assert free_memory(tmp_path / "nowhere") is None
    assert free_memory(made(tmp_path / "plain", meminfo)) == 80 * 1024
    inner = "sys/fs/cgroup/a/b"
    two = meminfo | {
        "proc/self/cgroup": "0::/a/b\n",
        f"{inner}/memory.max": "max\n",
        f"{inner}/memory.current": "5\n",
        "sys/fs/cgroup/a/memory.max": "40000\n",  # the outer group's limit holds too
        "sys/fs/cgroup/a/memory.current": "30000\n",
        "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 7000\nactive_file 500\n",
    }
    assert free_memory(made(tmp_path / "two", two)) == 17500  # files that were read twice are active
    high = {"sys/fs/cgroup/a/memory.high": "35000\n"}  # beyond it the kernel slows the group down
    assert free_memory(made(tmp_path / "high", two | high)) == 12500
    one = meminfo | {
        "proc/self/cgroup": "7:memory:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "50000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "60000\n",
    }
    assert free_memory(made(tmp_path / "one", one)) == 0
    cached = {
        "sys/fs/cgroup/memory/memory.stat": "active_file 9\ntotal_inactive_file 4000\ntotal_active_file 8000\n"
    }
    assert free_memory(made(tmp_path / "cached", one | cached)) == 2000
