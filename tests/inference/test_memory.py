"""Planned memory against the tensors that are alive when it really runs."""

from __future__ import annotations

import tracemalloc

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
