"""A loss of another distribution, registered by an entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
import torch
from torch import Tensor

from refineseg.config import TrainConfig
from refineseg.errors import ConfigError
from refineseg.system import plugins
from refineseg.training.losses import make_loss


def right(_logits: Tensor, _labels: Tensor, weights: Tensor | None, config: TrainConfig) -> Tensor:
    assert weights is not None
    return weights.sum() + config.lr


def of_two(_logits: Tensor, _labels: Tensor) -> Tensor:
    return torch.zeros(())


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    group = "refineseg.losses"
    points = [EntryPoint(name, f"{__name__}:{name}", group) for name in ("right", "of_two")]

    def entry_points(group: str, name: str | None = None) -> list[EntryPoint]:
        return [point for point in points if point.group == group and name in (None, point.name)]

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def test_a_registered_loss_gets_class_weights_and_settings() -> None:
    config = TrainConfig(loss="right", class_weights=(1.0, 2.0), lr=0.5)
    loss = make_loss(config, torch.tensor([10, 10]))
    logits, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8)
    assert loss(logits, labels).item() == pytest.approx(3.5)


def test_one_of_other_arguments_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"'of_two' as a function of logits, labels, class weights and settings"):
        make_loss(TrainConfig(loss="of_two"), torch.tensor([10, 10]))
    with pytest.raises(ConfigError, match=r"unknown loss 'left': expected .*, right, or"):
        make_loss(TrainConfig(loss="left"), torch.tensor([10, 10]))
