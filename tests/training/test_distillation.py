"""Distillation: the loss by hand, what is learned from, and resuming."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData
from refineseg.data.batches.loader import Batches, SampleKey, TrainingPictures
from refineseg.errors import ConfigError, RefinesegError
from refineseg.labels import IGNORE, UNLABELLED
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import read_config, save_model_folder
from refineseg.model.presets import create_model
from refineseg.training.custom import TrainingEvent
from refineseg.training.distillation import load_teacher, soft_loss, teacher_logits
from refineseg.training.loop import train
from tests.training.test_loop import CONFIG, StopHereError, data, stop_at

__all__ = ["data"]


def labels(value: int = 0) -> Tensor:
    return torch.full((1, 4, 4), value, dtype=torch.uint8)


def test_equal_networks_have_no_loss() -> None:
    logits = torch.randn(2, 5, 6, 7)
    for temperature in (0.5, 1.0, 4.0):
        given = soft_loss(logits, logits.clone(), torch.zeros(2, 24, 28, dtype=torch.uint8), temperature)
        assert float(given) == pytest.approx(0, abs=1e-6)


def test_the_loss_by_hand() -> None:
    """One pixel, two classes, T = 2: the teacher says 0.8, the student 0.5 after softening."""
    teacher = torch.tensor([2 * math.log(4.0), 0.0]).view(1, 2, 1, 1)
    student = torch.zeros(1, 2, 1, 1)
    by_hand = 4 * (0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5))
    assert float(soft_loss(student, teacher, labels(), 2.0)) == pytest.approx(by_hand, rel=1e-6)


def test_ignored_pixels_do_not_count_and_unlabelled_ones_do() -> None:
    student, teacher = torch.zeros(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    each = soft_loss(student[..., :1, :1], teacher[..., :1, :1], labels(), 1.0)
    mask = torch.full((1, 2, 2), IGNORE, dtype=torch.uint8)
    mask[0, 0, 0] = UNLABELLED
    assert float(soft_loss(student, teacher, mask, 1.0)) == pytest.approx(float(each), rel=1e-6)
    assert float(soft_loss(student, teacher, labels(IGNORE)[:, :2, :2], 1.0)) == 0


def test_a_teacher_of_another_resolution_is_resized() -> None:
    teacher = torch.randn(1, 3, 1, 1)
    student = torch.randn(1, 3, 2, 2)
    spread = soft_loss(student, teacher.expand(1, 3, 8, 8), labels(), 1.0)
    assert float(spread) == pytest.approx(float(soft_loss(student, teacher.expand(1, 3, 2, 2), labels(), 1.0)))


def test_only_the_student_gets_gradients() -> None:
    student, teacher = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
    images = torch.rand(1, 3, 4, 4)
    soft_loss(student(images), teacher_logits(teacher, images), labels(), 1.0).backward()  # type: ignore[no-untyped-call]
    assert student.weight.grad is not None
    assert float(student.weight.grad.abs().sum()) > 0
    assert teacher.weight.grad is None


def test_the_student_moves_towards_the_teacher() -> None:
    torch.manual_seed(0)
    student, teacher = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
    images = torch.rand(1, 3, 8, 8)
    mask = torch.full((1, 8, 8), UNLABELLED, dtype=torch.uint8)
    optimizer = torch.optim.SGD(student.parameters(), 1.0)
    losses = []
    for _ in range(50):
        loss = soft_loss(student(images), teacher_logits(teacher, images), mask, 1.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


def teacher_folder(data: SegmentationData, folder: Path, order: list[int]) -> Path:
    """A saved model whose classes stand in the given order."""
    torch.manual_seed(1)
    model = create_model("refinenet-lw-mbv2", len(order), None, width=16, coarse_width=16)
    classes = tuple(data.label_map.classes[index] for index in order)
    save_model_folder(
        folder, model, ModelCard("teacher", dataclasses.replace(data.label_map, classes=classes, ignore=(255,)))
    )
    return folder


def test_classes_are_matched_by_name(data: SegmentationData, tmp_path: Path) -> None:
    count = data.label_map.num_classes
    straight = load_teacher(str(teacher_folder(data, tmp_path / "a", list(range(count)))), data).eval()
    turned = load_teacher(str(teacher_folder(data, tmp_path / "b", list(reversed(range(count))))), data).eval()
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(teacher_logits(turned, images), teacher_logits(straight, images).flip(1))


def test_a_teacher_of_other_classes_is_refused(data: SegmentationData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher camvid has other classes.*lacks"):
        train(dataclasses.replace(CONFIG, teacher="camvid"), data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 8, 8), (2, 2, 8, 8)])
def test_logits_of_the_wrong_shape_are_refused(
    data: SegmentationData, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    if shape[1] == data.label_map.num_classes:
        shape = (1, data.label_map.num_classes + 1, 8, 8)
    with pytest.raises(ConfigError, match="expected logits"):
        train(CONFIG, data, tmp_path / "run", device="cpu", teacher=lambda _images: torch.zeros(shape))


class Still(nn.Module):
    """A teacher that says class 1 everywhere and notes what it sees."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.seen: list[Tensor] = []
        self.modes: set[bool] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.clone())
        self.modes.add(self.training or torch.is_grad_enabled())
        return nn.functional.one_hot(torch.ones_like(images[:, 0]).long(), self.classes).permute(0, 3, 1, 2) * 9.0


def test_a_module_given_in_python_teaches(data: SegmentationData, tmp_path: Path) -> None:
    classes = data.label_map.num_classes
    teacher = Still(classes)
    config = dataclasses.replace(CONFIG, steps=40, teacher_weight=1.0, ema=0.0, validate_every=20)
    train(config, data, tmp_path / "run", device="cpu", teacher=teacher)
    assert teacher.modes == {False}
    assert len(teacher.seen) == 41  # the first is the trial before the run
    batch = teacher.seen[1]
    assert batch.shape == (2, 3, 32, 32)
    assert 0 <= float(batch.min()) <= float(batch.max()) <= 1
    _, card = read_config(tmp_path / "run/last")
    assert card.provenance["teacher, in Python"].endswith("test_distillation.Still")
    assert card.provenance["teacher weight"] == 1.0
    from refineseg.model.folders.model_folder import load_model_folder

    model = load_model_folder(tmp_path / "run/last")[0].eval()
    predicted = model(teacher.seen[-1]).argmax(1)
    assert float((predicted == 1).float().mean()) > 0.95


def test_unlabelled_pictures(data: SegmentationData, tmp_path: Path) -> None:
    """Beside the labelled ones, in their share, with UNLABELLED inside the picture and IGNORE around it."""
    folder = tmp_path / "more"
    folder.mkdir()
    for index, sample in enumerate(data.split("train")):
        shutil.copy(sample.image, folder / f"more{index}.png")
    pictures = sorted(folder.iterdir())
    augment = AugmentConfig(crop=(64, 64), scale=(0.5, 0.5), class_mix=1.0)
    dataset = TrainingPictures(data, "train", augment, 0, pictures)
    dataset.prepare(100)
    assert len(dataset) == 6
    assert dataset.class_pixels.shape[0] == 6
    _, mask = dataset[SampleKey(6 + 2, 0, 0)]
    assert set(mask.flatten().tolist()) == {UNLABELLED, IGNORE}
    _, mask = dataset[SampleKey(2, 0, 0)]
    assert UNLABELLED not in mask
    whole = [Batches(6, 2, 3, unlabelled=4, unlabelled_in_batch=2).at(step) for step in range(9)]
    assert [[draw.index < 6 for draw in batch] for batch in whole] == [[True, True, False, False]] * 9
    drawn = [draw.index - 6 for batch in whole for draw in batch if draw.index >= 6]
    assert all(sorted(drawn[start : start + 4]) == [0, 1, 2, 3] for start in range(0, 16, 4))
    halves = [[Batches(6, 2, 3, None, None, 4, 2, rank, 2).at(step) for step in range(9)] for rank in (0, 1)]
    mixed = [[*a, *b] for a, b in zip(*halves, strict=True)]
    assert [sorted(batch, key=repr) for batch in mixed] == [sorted(batch, key=repr) for batch in whole]


def test_resuming_gives_the_same_bits(data: SegmentationData, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    for sample in data.split("val"):
        shutil.copy(sample.image, folder / f"copy-{sample.image.name}")
        (folder / sample.image.name).symlink_to(sample.image)  # the data set's own, left out
    classes = data.label_map.num_classes
    config: TrainConfig = dataclasses.replace(
        CONFIG,
        steps=4,
        teacher=str(teacher_folder(data, tmp_path / "teacher", list(range(classes)))),
        teacher_temperature=2.0,
        unlabelled=str(folder),
    )
    notes: list[TrainingEvent] = []
    train(config, data, tmp_path / "whole", callbacks=[notes.append], device="cpu")
    assert [note.note for note in notes if note.phase == "note"] == [
        f"not used as unlabelled: 2 pictures of the data set in {folder}"
    ]
    _, card = read_config(tmp_path / "whole/last")
    assert card.provenance["unlabelled pictures"] == "2 of more"
    assert config.labelled_in_batch == 1
    longer = dataclasses.replace(config, steps=8)
    train(longer, data, tmp_path / "a", device="cpu")
    with pytest.raises(StopHereError):
        train(longer, data, tmp_path / "b", callbacks=[stop_at(7)], device="cpu")
    train(longer, data, tmp_path / "b", resume=True, device="cpu")
    one, other = (load_file(tmp_path / name / "last/model.safetensors") for name in "ab")
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unlabelled": "x"}, "need a teacher"),
        ({"teacher": "nowhere"}, "nowhere"),
        ({"teacher": "people", "unlabelled": "x", "batch_size": 1}, "batch size of 2"),
        ({"teacher_weight": 1.5}, "teacher_weight"),
        ({"teacher_temperature": 0.0}, "teacher_temperature"),
    ],
)
def test_settings_that_do_not_fit(
    data: SegmentationData, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(RefinesegError, match=message):
        train(TrainConfig.from_dict(CONFIG.to_dict() | change), data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
