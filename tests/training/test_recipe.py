"""The recipe's parts by hand."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from refineseg.config import RECIPES, TrainConfig, paper_recipe
from refineseg.data import open_data
from refineseg.data.batches.class_sampling import class_rounds
from refineseg.labels import IGNORE
from refineseg.model import create_model
from refineseg.training.loop import make_batches
from refineseg.training.losses import class_weights, make_loss, ohem_mean
from refineseg.training.optimizer import MovingAverage, freeze_batch_norm, lr_factor, make_optimizer
from refineseg.training.parallel import set_up
from refineseg.training.preparation.prepare_run import prepare_run
from refineseg.training.step import Step
from tests.data.made import make_folder

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
        return lr_factor(step, 100, TrainConfig(**settings))  # type: ignore[arg-type]

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


def test_paper_recipe_is_the_authors() -> None:
    recipe = paper_recipe()
    assert (recipe.optimizer, recipe.batch_size, recipe.lr, recipe.weight_decay) == ("sgd", 1, 5e-4, 5e-4)
    assert (recipe.backbone_lr, recipe.decay_all, recipe.freeze_batch_norm) == (0.1, True, "statistics")
    assert (recipe.loss_resolution, recipe.balanced_sampling) == ("paper", False)
    augment = recipe.augment
    assert (augment.crop, augment.short_edge, augment.pad, augment.rare_crop) == (
        (400, 400),
        (450, 1100),
        False,
        0,
    )
    by_class = dataclasses.replace(
        recipe, balanced_sampling="paper", augment=dataclasses.replace(augment, rare_crop=1.0)
    )
    assert RECIPES["paper-class-crop"]() == by_class  # their other form takes both by class


def test_lightweight_recipe_is_nekrasovs() -> None:
    recipe = RECIPES["lightweight"]()
    assert (recipe.batch_size, recipe.lr, recipe.lr * recipe.backbone_lr, recipe.weight_decay) == (
        6,
        5e-3,
        5e-4,
        1e-5,
    )
    assert (recipe.augment.scale, recipe.augment.pad) == ((0.5, 2.0), True)
    assert [lr_factor(step, 300, recipe) for step in (0, 99, 100, 199, 200, 299)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_one_step_of_the_paper_recipe_is_a_literal_one(tmp_path: Path) -> None:
    """Forward, loss at stride 4, gradient, decay on all weights, two rates: written out again, to 1e-6."""
    config = dataclasses.replace(
        paper_recipe(),
        fields={"width": 16, "coarse_width": 16, "dropout": 0.0},
        workers=0,
        backbone_weights="none",
    )
    data = open_data(f"folder:{make_folder(tmp_path, pictures=10)}")
    run = prepare_run(dataclasses.replace(config, steps=1), data, tmp_path / "run", device="cpu")
    freeze_batch_norm(run.model, trained=True)
    model = copy.deepcopy(run.model).train()
    freeze_batch_norm(model, trained=True)
    network, optimizer = set_up(run.fabric, run.model, None, config)
    network.train()
    image, labels = run.pictures[make_batches(run).at(0)[0]]
    assert min(image.shape[1:]) <= 400
    Step(run, network, optimizer)(image[None], labels[None])

    logits = model(image[None] / 255, upsample=False)
    rows, columns = (
        ((torch.arange(n) + 0.5) * (side / n)).long()
        for n, side in zip(logits.shape[2:], labels.shape, strict=True)
    )
    small = labels[rows][:, columns]
    valid = small != IGNORE
    chosen = logits[0].log_softmax(0).gather(0, small.masked_fill(~valid, 0)[None].long())[0]
    (-(chosen * valid).sum() / valid.sum()).backward()
    for (name, after), before in zip(run.model.named_parameters(), model.parameters(), strict=True):
        assert before.grad is not None
        lr = 5e-4 * (0.1 if name.startswith("backbones.") else 1.0)
        expected = before - lr * (before.grad + 5e-4 * before)
        torch.testing.assert_close(after, expected, rtol=1e-6, atol=1e-6)
    buffers = zip(run.model.buffers(), model.buffers(), strict=True)
    assert all(torch.equal(one, other) for one, other in buffers)


def test_class_rounds_are_the_authors() -> None:
    """None twice in a round of 1,000 to 2,000; each class in 100 pictures if there are as many."""
    pixels = torch.zeros(5_000, 3, dtype=torch.int64)
    pixels[:, 0] = 9
    pixels[:300, 1] = 1
    pixels[:40, 2] = 1
    drawn = class_rounds(pixels, 5_000, torch.Generator().manual_seed(0))
    assert len(drawn) == 5_000
    first, second = set(drawn[:1_000]), set(drawn[1_000:2_000])
    assert len(first) == len(second) == 1_000  # filled up to 1,000
    for taken in (first, second):
        shown = (pixels[sorted(taken)] > 0).sum(0)
        assert shown[1] >= 100
        assert shown[2] == 40  # all that there are
    assert (
        not {index for index in first if index >= 300} & second
    )  # the common ones that were not taken come first
    assert class_rounds(pixels, 5_000, torch.Generator().manual_seed(0)) == drawn


def test_class_rounds_are_cut_to_2000() -> None:
    each = torch.eye(30, dtype=torch.int64).repeat(200, 1)  # 200 pictures of each of 30 classes
    drawn = class_rounds(each, 4_000, torch.Generator().manual_seed(1))
    assert len(set(drawn[:2_000])) == len(set(drawn[2_000:])) == 2_000
    assert (torch.bincount(torch.tensor(drawn[:2_000]) % 30) <= 100).all()


def test_only_large_sets_are_sampled_by_class_in_the_paper_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(f"folder:{make_folder(tmp_path, pictures=10)}")
    config = dataclasses.replace(RECIPES["paper-class-crop"](), fields={"width": 8, "coarse_width": 8}, steps=1)
    config = dataclasses.replace(config, workers=0, backbone_weights="none", model="refinenet-lw-r18")
    run = prepare_run(config, data, tmp_path / "run", device="cpu")
    assert make_batches(run).class_pixels is None
    monkeypatch.setattr("refineseg.training.loop.SHORTEST", len(run.pictures) - 1)
    assert make_batches(run).class_pixels is run.pictures.class_pixels
