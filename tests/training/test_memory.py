"""Planned memory of a training step against the tensors that are alive when it really runs."""

from __future__ import annotations

import pytest
import torch

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.errors import ConfigError
from refineseg.model.memory import PeakMemory, tensors_of
from refineseg.model.presets import create_model
from refineseg.training import memory
from refineseg.training.losses import make_loss
from refineseg.training.memory import check_memory, largest_batch, need_of_step

SETTINGS = [
    ("refinenet-lw-mbv2", (64, 96), 2),
    ("refinenet-lw-r18", (64, 64), 1),
    ("refinenet-r18", (64, 64), 2),
]
LARGE = [("refinenet-lw-mbv2", (360, 480), 2)]


def config(crop: tuple[int, int] = (64, 64), batch: int = 2, **fields: object) -> TrainConfig:
    return TrainConfig(batch_size=batch, augment=AugmentConfig(crop=crop), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("net", "crop", "batch"), [*SETTINGS, *(pytest.param(*x, marks=pytest.mark.slow) for x in LARGE)]
)
def test_a_step_is_planned_within_a_tenth(net: str, crop: tuple[int, int], batch: int) -> None:
    model, recipe = create_model(net, 11).train(), config(crop, batch)
    planned = need_of_step(model, recipe)
    images, labels = torch.rand(batch, 3, *crop), torch.zeros(batch, *crop, dtype=torch.uint8)
    loss_of = make_loss(recipe, torch.ones(11))
    with PeakMemory([*tensors_of(model), images, labels]) as alive:
        logits = model(images.contiguous(memory_format=torch.channels_last), upsample=False)
        loss_of(logits, labels).backward()  # type: ignore[no-untyped-call]
    assert alive.peak == pytest.approx(planned.working, rel=0.1)


def test_what_stays_is_counted() -> None:
    model = create_model("refinenet-lw-mbv2", 11)
    size = sum(value.numel() * value.element_size() for value in model.parameters())
    adam, sgd = (need_of_step(model, config(optimizer=name)).resting for name in ("adamw", "sgd"))
    assert adam - sgd == size
    averaged = need_of_step(model, config(ema=0.9)).resting - need_of_step(model, config(ema=0.0)).resting
    assert size < averaged < 1.1 * size  # with the statistics


def test_too_large_a_batch_is_refused_with_the_largest_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    model, recipe, cpu = create_model("refinenet-lw-mbv2", 11), config((160, 160), batch=4), torch.device("cpu")
    there = sum(value.numel() * value.element_size() for value in tensors_of(model))
    free = need_of_step(model, recipe, 3).peak - there + 1000
    most = largest_batch(model, recipe, int(free / 1.5) + there, 4)
    assert 1 <= most < largest_batch(model, recipe, free + there, 4) == 3
    monkeypatch.setattr(memory, "free_device_memory", lambda _device: free)
    with pytest.raises(
        ConfigError, match=rf"step of 4 pictures of 160x160: it needs .* GiB, .*: --batch-size {most} fits$"
    ):
        check_memory(model, recipe, cpu)
    assert check_memory(model, config((160, 160), batch=most), cpu) == ""
    monkeypatch.setattr(memory, "free_device_memory", lambda _device: 1000)
    with pytest.raises(ConfigError, match="not even one picture fits"):
        check_memory(model, config(batch=1), cpu)
    monkeypatch.setattr(memory, "free_device_memory", lambda _device: None)
    assert check_memory(model, recipe, cpu) == ""


def test_a_batch_leaves_room_for_the_heaps_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the system ends a process that takes more, without a word."""
    model, recipe, cpu = create_model("refinenet-lw-mbv2", 11), config(batch=4), torch.device("cpu")
    there = sum(value.numel() * value.element_size() for value in tensors_of(model))
    need = need_of_step(model, recipe, 4).peak - there
    monkeypatch.setattr(memory, "free_device_memory", lambda _device: int(1.2 * need))
    most = memory.fitting_batch(model, recipe, cpu)
    assert most == largest_batch(model, recipe, int(0.8 * need) + there, 4) < 4
    warning = check_memory(model, recipe, cpu)  # it may fit
    assert warning.startswith("memory is short for a training step of 4 pictures of 64x64: it needs ")
    assert warning.endswith(f"may kill the training: --batch-size {most} fits")
    monkeypatch.setattr(memory, "free_device_memory", lambda _device: int(1.6 * need))
    assert memory.fitting_batch(model, recipe, cpu) == 4
    assert check_memory(model, recipe, cpu) == ""
