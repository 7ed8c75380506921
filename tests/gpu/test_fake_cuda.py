"""Tensors on the wrong device, found without a GPU: the code runs on fake tensors of two devices.

They have a shape and a device but no values, and those of one device cannot be mixed with those of another.
``meta`` stands for ``cuda``, whose fake tensors ask for a driver as soon as they are indexed or differentiated.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode

from refineseg.config import TrainConfig
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners import torch_module
from refineseg.inference.runners.torch_module import NetworkRunner
from refineseg.inference.tiles.receptive_field import CONTEXT, effective_radius
from refineseg.labels import UNLABELLED, LabelMap
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import weights_hash
from refineseg.model.memory import bytes_per_pixel
from refineseg.model.multi_task import MultiTaskRefineNet
from refineseg.model.presets import create_model
from refineseg.training.dead_blocks import dead_blocks
from refineseg.training.loop import check_weights, fetch_losses
from refineseg.training.losses import LOSSES, make_loss
from refineseg.training.optimizer import MovingAverage, make_optimizer
from refineseg.training.step import Step, to_input
from refineseg.training.suggest.picture_features import pooled

GPU = torch.device("meta")
CLASSES = 5
SMALL: dict[str, Any] = {"preset": "refinenet-r18", "width": 8, "coarse_width": 8}
VIT = {"vit": {"image": 64, "patch": 16, "width": 64, "depth": 4, "heads": 2}}
SWIN = {"swin": {"image": 64, "width": 16, "depths": (1, 1, 1, 1), "heads": (1, 2, 4, 8), "window": 4}}
A_DPT: dict[str, Any] = {"preset": "refinenet-dpt", "width": 16}
NETWORKS: dict[str, dict[str, Any]] = {
    "paper": SMALL | {"settings": "paper", "cascade": "two"},
    "authors": SMALL | {"settings": "authors"},
    "2-scale": SMALL | {"input_scales": (1.2, 0.6), "cascade": "single", "pooling": "improved"},
    "exact, 2-scale": SMALL | {"exact_strides": True, "input_scales": (1.0, 0.5)},
    "pooled, void": SMALL | {"image_pooling": True, "void_logit": True, "output_stride": 8},
    "tasks": {"preset": "refinenet-lw-mbv2", "further_outputs": ("depth", "normals")},
    "of timm": {"preset": "refinenet-lw-lite0", "backbone": "convnext_atto"},
    "dpt": A_DPT | {"backbone": "beit_base_patch16_224", "dpt": VIT | {"readout": "project"}},
    "dpt, rotary": A_DPT | {"backbone": "vit_small_patch16_dinov3", "dpt": VIT},
    "dpt, swin": A_DPT | {"backbone": "swinv2_tiny_window8_256", "dpt": SWIN},
    "depth": A_DPT | {"backbone": "vit_small_patch14_dinov2", "dpt": VIT, "outputs": "depth", "num_classes": 1},
}
DIFFERENTIATED = ("paper", "tasks")  # with all modules that have a backward pass of their own
CONFIG = TrainConfig(accumulate=2, batch_size=4, clip_norm=1.0, class_weights=(1.0,) * CLASSES, precision="bf16")


class Indices(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fake tensors may be indexed by those of any device: real ones only by those of their own and of the CPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.index.Tensor:
            allowed = (args[0].device, torch.device("cpu"))
            assert all(index is None or index.device in allowed for index in args[1])
        return func(*args, **(kwargs or {}))


def on_gpu(model: Any, mode: FakeTensorMode) -> Any:
    """A copy with parameters and buffers on the GPU, as by ``to``: all other tensors stay where they are."""
    moved: dict[int, Any] = {}
    for value in [*model.parameters(), *model.buffers()]:
        fake = mode.from_tensor(value.detach()).to(GPU)
        moved[id(value)] = nn.Parameter(fake, value.requires_grad) if isinstance(value, nn.Parameter) else fake
    return copy.deepcopy(model, moved)


@pytest.fixture
def mode(monkeypatch: pytest.MonkeyPatch) -> FakeTensorMode:
    """Tensors made within are fake. There is no autocast, as ``meta`` has none, and values are zeros."""

    def numpy(x: Tensor) -> Any:
        assert x.device.type == "cpu"
        return np.zeros(tuple(x.shape), str(x.dtype).removeprefix("torch."))

    monkeypatch.setattr(Tensor, "numpy", numpy)
    monkeypatch.setattr(Tensor, "item", lambda _: 1.0)
    monkeypatch.setattr(Tensor, "tolist", lambda x: [1.0] * x.numel())
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(nn.Module, "to", lambda module, *_, **__: module)  # fake weights cannot be replaced
    return FakeTensorMode(shape_env=ShapeEnv(), static_shapes=True)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks(name: str, mode: FakeTensorMode) -> None:
    model = on_gpu(create_model(**({"num_classes": CLASSES} | NETWORKS[name])), mode)
    with mode, Indices():
        images = torch.rand(2, 3, 66, 98, device=GPU)
        with torch.no_grad():
            logits = model.eval()(images)
        assert logits.shape == (2, model.num_classes, 66, 98)
        assert logits.device == GPU
        if isinstance(model, MultiTaskRefineNet):
            assert all(output.device == GPU for output in model.tasks(images).values())
        if name in DIFFERENTIATED:
            model.train()(images, upsample=False).sum().backward()
            assert all(value.grad.device == GPU for value in model.classifier.parameters())


@pytest.mark.parametrize(
    "name", [name for name in LOSSES if name != "ohem"]
)  # how many pixels it takes is a value
@pytest.mark.parametrize("weights", [0.0, (1.0,) * CLASSES])
@pytest.mark.parametrize("resolution", ["full", "paper"])
def test_losses(name: str, weights: Any, resolution: Any, mode: FakeTensorMode) -> None:
    with mode, Indices():
        config = TrainConfig(loss=name, class_weights=weights, loss_resolution=resolution)
        loss = make_loss(config, torch.ones(CLASSES))
        logits, labels = torch.rand(2, CLASSES, 8, 9, device=GPU), torch.zeros(2, 32, 36, dtype=torch.uint8)
        with pytest.raises(RuntimeError, match="same device"):
            loss(logits, labels)
        assert loss(logits, labels.to(GPU)).device == GPU


def test_a_step_its_average_and_its_checks(mode: FakeTensorMode) -> None:
    """With a teacher, accumulation and clipping; the batch comes from the CPU."""
    average = MovingAverage(create_model(num_classes=CLASSES, **SMALL), 0.9)
    model, average.model = on_gpu(average.model.requires_grad_(), mode), on_gpu(average.model, mode)
    fabric = SimpleNamespace(
        device=GPU,
        world_size=1,
        autocast=nullcontext,
        no_backward_sync=lambda *_, **__: nullcontext(),
        backward=lambda loss: loss.backward(),
        clip_gradients=lambda module, *_, **__: torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0),
    )
    run: Any = SimpleNamespace(
        config=CONFIG,
        fabric=fabric,
        model=model,
        teacher=lambda images: torch.rand(len(images), CLASSES, 8, 8, device=images.device),
        custom={},
        pictures=SimpleNamespace(class_pixels=None),
        position=SimpleNamespace(step=2, loss_sum=0.0, loss_steps=0, seconds=0.0),
        asked_to_stop=False,
        own_seconds=0.0,
    )
    with mode, Indices():
        run.pictures.class_pixels = torch.ones(2, CLASSES)
        take_step = Step(run, model, make_optimizer(model, CONFIG))
        images = torch.zeros(4, 3, 32, 32, dtype=torch.uint8)
        labels = torch.full((4, 32, 32), UNLABELLED, dtype=torch.uint8)
        losses = [take_step(images, labels) for _ in range(2)]
        assert all(loss.device == GPU for loss in losses)
        average.update(model, 3)
        assert fetch_losses(run, losses, run) == 1.0
        check_weights(run, run)
        assert dead_blocks(model, to_input(images, GPU)) == []


@pytest.fixture
def segmenter(mode: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    monkeypatch.setattr(torch_module, "pick_device", lambda _: GPU)
    labels = LabelMap.from_names([f"class {index}" for index in range(CLASSES)])
    card = ModelCard("made", labels, calibration={"temperatures": [1.5] * CLASSES})
    model = on_gpu(create_model(num_classes=CLASSES, **SMALL), mode)
    return Segmenter.from_network(model, card, "cuda", "bf16")


@pytest.mark.parametrize(
    ("scales", "tile", "probabilities"),
    [((1.0,), None, False), ((0.5, 1.0), None, True), ((1.0, 2.0), 128, True)],
)
def test_prediction(
    scales: tuple[float, ...], tile: int | None, probabilities: bool, segmenter: Segmenter, mode: FakeTensorMode
) -> None:
    vars(segmenter.runner)["overlap"] = 32
    how: dict[str, Any] = {"scales": scales, "flip": len(scales) > 1, "tile": tile, "probabilities": probabilities}
    with mode, Indices():
        result = segmenter.predict(np.zeros((150, 90, 3), np.uint8), **how)
    assert result.labels.shape == (150, 90)
    assert (result.probabilities is not None) == probabilities


def test_what_is_measured_of_a_network(
    segmenter: Segmenter, mode: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mode, Indices():
        assert effective_radius(segmenter.model, GPU) in range(CONTEXT + 1)
        assert bytes_per_pixel(segmenter.model, 3, GPU) > 0
        assert pooled(segmenter.model, np.zeros((40, 60, 3), np.float32)).shape == (2 * 512,)
        assert weights_hash(segmenter.model)
    runner = segmenter.runner
    assert isinstance(runner, NetworkRunner)
    runner.model = create_model(num_classes=CLASSES, **SMALL).eval()
    monkeypatch.setattr(torch_module, "fake_copy", on_gpu)
    need = runner.need((1, 3, 64, 96))
    assert need is not None
    assert need.working > 0
