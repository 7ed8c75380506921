"""The recipe's parts by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from refineseg.config import TrainConfig, paper_recipe
from refineseg.labels import IGNORE
from refineseg.model import create_model
from refineseg.training.losses import class_weights, make_loss, ohem_mean
from refineseg.training.optimizer import MovingAverage, freeze_batch_norm, make_optimizer, rate

PIXELS = torch.tensor([100, 100, 100])


def test_loss_is_the_mean_over_valid_pixels() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1, 0, 0] = 2.0
    labels = torch.tensor([[[1, IGNORE]]], dtype=torch.uint8)
    loss = make_loss(TrainConfig(), PIXELS)(logits, labels)
    assert float(loss) == pytest.approx(math.log(math.exp(2) + 2) - 2, rel=1e-5)


def test_loss_of_nothing_valid_is_zero() -> None:
    for config in (TrainConfig(), TrainConfig(loss="ohem")):
        logits = torch.randn(2, 3, 2, 2, requires_grad=True)
        loss = make_loss(config, PIXELS)(logits, torch.full((2, 8, 8), IGNORE, dtype=torch.uint8))
        torch.autograd.backward(loss)
        assert loss.item() == 0
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_paper_resolution_takes_labels_at_stride_4() -> None:
    logits = torch.randn(1, 3, 2, 2)
    labels = torch.randint(0, 3, (1, 8, 8), dtype=torch.uint8)
    loss = make_loss(paper_recipe(), PIXELS)(logits, labels)
    small = labels[:, 2::4, 2::4].long()  # the pixel at each cell's centre
    torch.testing.assert_close(loss, F.cross_entropy(logits, small))


def test_class_weights_by_hand() -> None:
    # frequencies 0.8, 0.2, 0; the median of those present is 0.5 by torch's lower median: 0.2
    weights = class_weights(torch.tensor([80, 20, 0]), 1.0)
    torch.testing.assert_close(weights, torch.tensor([0.25, 1.0, 1.0]))
    assert class_weights(torch.tensor([80, 20, 0]), 0.5)[0] == pytest.approx(0.5)


def test_ohem_takes_the_hard_pixels() -> None:
    easy, hard = torch.full((60,), 0.01), torch.full((40,), 2.0)
    assert float(ohem_mean(torch.cat([easy, hard]), torch.ones(100, dtype=torch.bool))) == pytest.approx(2.0)
    # where none is hard, the highest sixteenth is taken
    values = torch.arange(160) / 1000
    assert float(ohem_mean(values, torch.ones(160, dtype=torch.bool))) == pytest.approx(0.1545)


def test_optimizer_groups() -> None:
    model = create_model("refinenet-lw-mbv2", 3)
    optimizer = make_optimizer(model, TrainConfig(lr=0.1, backbone_lr=0.5, weight_decay=0.2))
    described = {(group["lr"], group["weight_decay"]) for group in optimizer.param_groups}
    assert described == {(0.05, 0.2), (0.05, 0.0), (0.1, 0.2), (0.1, 0.0)}
    grouped = sum(len(group["params"]) for group in optimizer.param_groups)
    assert grouped == len(list(model.parameters()))
    assert all(p.ndim > 1 for g in optimizer.param_groups if g["weight_decay"] for p in g["params"])


def test_schedules_by_hand() -> None:
    def at(step: int, **settings: object) -> float:
        return rate(step, 100, TrainConfig(**settings))  # type: ignore[arg-type]

    assert [at(step, warmup=0.1) for step in (0, 4, 9)] == [0.1, 0.5, 1.0]
    assert at(0, warmup=0.0) == 1.0
    assert at(50, warmup=0.0) == pytest.approx(0.505)
    assert at(50, warmup=0.0, schedule="poly") == pytest.approx(0.5**0.9)
    assert [at(step, warmup=0.0, schedule="step", drop_at=0.5) for step in (49, 50)] == [1.0, 0.1]
    assert at(99, warmup=0.0, schedule="constant") == 1.0


def test_frozen_batch_norm_stays_frozen() -> None:
    model = create_model("refinenet-lw-mbv2", 3)
    freeze_batch_norm(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    assert model.training
    assert model.decoder.training
    optimizer = make_optimizer(model, TrainConfig(lr=1.0))
    model(torch.rand(2, 3, 32, 32)).mean().backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    norms = {
        f"{name}.{key}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for key in module.state_dict()
    }
    assert norms
    assert not changed & norms
    assert "classifier.weight" in changed


def test_moving_average_by_hand() -> None:
    model = create_model("refinenet-lw-mbv2", 3)
    average = MovingAverage(model, 0.9)
    start = model.classifier.weight.detach().clone()
    with torch.no_grad():
        model.classifier.weight.add_(1)
    average.update(model, step=10_000)
    torch.testing.assert_close(average.model.classifier.weight, start + 0.1)
    assert not average.model.training


def test_paper_recipe_is_the_papers() -> None:
    recipe = paper_recipe()
    assert (recipe.optimizer, recipe.batch_size, recipe.lr, recipe.weight_decay) == ("sgd", 1, 5e-4, 5e-4)
    assert recipe.freeze_batch_norm
    assert recipe.backbone_lr == 0.1
    assert recipe.augment.crop == (400, 400)
    assert recipe.loss_resolution == "paper"
