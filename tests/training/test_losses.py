"""Losses by hand and against literal sums."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError
from refineseg.labels import IGNORE
from refineseg.training.losses import LOSSES, make_loss

PIXELS = torch.tensor([80, 20, 0])


def loss_of(logits: Tensor, labels: Tensor, **settings: object) -> float:
    config = TrainConfig.from_dict(settings)
    return float(make_loss(config, PIXELS)(logits, labels.to(torch.uint8)))


def example() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 3, 4, 5), torch.randint(0, 2, (2, 4, 5))
    labels[0, :2] = IGNORE
    return logits, labels


def test_focal_by_hand() -> None:
    """p = 0.8 of the true class: (1 - 0.8)^2 * -log 0.8."""
    logits = torch.tensor([math.log(8.0), 0.0, 0.0]).view(1, 3, 1, 1)
    assert loss_of(logits, torch.zeros(1, 1, 1), loss="focal") == pytest.approx(0.04 * -math.log(0.8), rel=1e-5)


def test_dice_against_literal_sums() -> None:
    logits, labels = example()
    probabilities = logits.softmax(1)
    shares = []
    for index in (0, 1):  # the third is not in the labels
        both = true = given = 0.0
        for picture in range(2):
            for row in range(4):
                for column in range(5):
                    label = int(labels[picture, row, column])
                    if label != IGNORE:
                        p = float(probabilities[picture, index, row, column])
                        both, true, given = both + p * (label == index), true + (label == index), given + p
        shares.append(1 - (2 * both + 1) / (true + given + 1))
    assert loss_of(logits, labels, loss="dice") == pytest.approx(sum(shares) / 2, rel=1e-5)


def test_a_perfect_prediction_has_no_dice_loss() -> None:
    labels = torch.tensor([[[0, 1], [2, IGNORE]]])
    logits = 100.0 * F.one_hot(labels.masked_fill(labels == IGNORE, 0), 3).permute(0, 3, 1, 2)
    assert loss_of(logits, labels, loss="dice") == pytest.approx(0, abs=1e-6)


def test_pixels_near_an_outline_weigh_five_times_as_much() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 12, 40)
    labels = torch.zeros(2, 12, 40, dtype=torch.long)
    labels[0, :, 5:] = 1  # an outline between columns 4 and 5: 10 pixels from it are columns 0 to 14
    labels[1, 0, 39] = IGNORE  # void is an outline too
    weights = torch.ones(2, 12, 40)
    weights[0, :, :15] = 5
    weights[1, :11, 29:] = 5
    weights[1, 0, 39] = 0
    pixels = -logits.log_softmax(1).gather(1, labels.clamp(max=2)[:, None])[:, 0]
    expected = (pixels * weights).sum() / weights.sum()
    assert loss_of(logits, labels, loss="boundary_weighted") == pytest.approx(float(expected), rel=1e-5)
    by_class = torch.tensor([1.0, 3.0, 0.0])
    weights = weights * by_class[labels.clamp(max=2)]
    expected = (pixels * weights).sum() / weights.sum()
    given = LOSSES["boundary_weighted"](logits, labels, by_class, TrainConfig())
    assert float(given) == pytest.approx(float(expected), rel=1e-5)


def test_losses_add_up() -> None:
    logits, labels = example()
    parts = [loss_of(logits, labels, loss=name) for name in ("cross_entropy", "dice")]
    assert loss_of(logits, labels, loss="cross_entropy+dice") == pytest.approx(sum(parts), rel=1e-6)


def test_weights_as_a_list() -> None:
    logits, labels = example()
    expected = F.cross_entropy(logits, labels, torch.tensor([1.0, 3.0, 0.5]), ignore_index=IGNORE)
    assert loss_of(logits, labels, class_weights=[1, 3, 0.5]) == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(ConfigError, match="3 class_weights"):
        loss_of(logits, labels, class_weights=[1, 3])
    with pytest.raises(ConfigError, match="0 or more"):
        TrainConfig.from_dict({"class_weights": [1, -1, 0]})


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_valid_is_zero_with_a_gradient_of_zero(name: str) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = make_loss(TrainConfig(loss=name), PIXELS)(logits, torch.full((1, 4, 4), IGNORE, dtype=torch.uint8))
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0


def test_an_unknown_loss_is_named_with_the_known() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown loss 'lovasz'.*boundary_weighted, cross_entropy, dice, focal, ohem"
    ):
        make_loss(TrainConfig(loss="cross_entropy+lovasz"), PIXELS)
