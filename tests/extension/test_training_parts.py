"""A loss, an augmentation and a callback of one's own, given to ``refineseg.train`` from outside the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import refineseg
from refineseg.data import SegmentationData
from refineseg.errors import RefinesegError
from refineseg.model.folders.model_folder import read_config
from refineseg.training.custom import StopTraining, TrainingEvent
from tests.training.test_loop import CONFIG, data

__all__ = ["data"]


def half_squared(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of the probabilities from the truth."""
    valid = labels != 255
    truth = F.one_hot(labels.masked_fill(~valid, 0), logits.shape[1]).permute(0, 3, 1, 2)
    return ((logits.softmax(1) - truth) ** 2).sum(1)[valid].mean() / 2


def dark_corner(image: Tensor, labels: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A corner of the crop's size, darker by a random factor."""
    image, labels = image[:, :32, :32], labels[:32, :32]
    return (image * torch.rand((), generator=draw)).to(torch.uint8), labels


class Noted:
    def __init__(self) -> None:
        self.reports: list[TrainingEvent] = []

    def __call__(self, report: TrainingEvent) -> None:
        self.reports.append(report)
        if report.phase == "train" and report.step == 4:
            raise StopTraining


def test_parts_given_in_python(data: SegmentationData, tmp_path: Path) -> None:
    noted = Noted()
    run = tmp_path / "run"
    refineseg.train(CONFIG, data, run, device="cpu", loss=half_squared, augment=dark_corner, callbacks=[noted])
    steps = [report for report in noted.reports if report.phase == "train"]
    assert [report.step for report in steps] == [1, 2, 3, 4]  # of 6: the callback ended it
    assert all(0 < report.loss < 1 for report in steps)  # cross-entropy would begin near or above log 4
    rows = [report.row for report in noted.reports if report.phase == "epoch"]
    assert [row["step"] for row in rows if row] == [3, 4]
    assert rows[-1]
    assert rows[-1]["mean_iou"] is not None
    _, card = read_config(run / "last")
    assert card.provenance["loss, in Python"].endswith("test_training_parts.half_squared")
    with pytest.raises(RefinesegError, match="given in Python"):
        refineseg.train(CONFIG, data, run, resume=True, device="cpu")


def test_an_augmentation_of_another_size_is_refused(data: SegmentationData, tmp_path: Path) -> None:
    def whole(image: Tensor, labels: Tensor, _draw: torch.Generator) -> tuple[Tensor, Tensor]:
        return image, labels

    with pytest.raises(RefinesegError, match=r"from augment, got .*for .*png"):
        refineseg.train(
            dataclasses.replace(CONFIG, workers=0), data, tmp_path / "run", device="cpu", augment=whole
        )
