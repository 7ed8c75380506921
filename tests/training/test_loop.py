"""The loop: it learns, writes what it says, and a resumed run equals an uninterrupted one."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from refineseg.config import AugmentConfig, TrainConfig
from refineseg.data import SegmentationData, open_data
from refineseg.data.batches.loader import SampleKey, TrainingPictures
from refineseg.errors import ConfigError, InputError, LabelError, WeightsError
from refineseg.model.folders.card import ModelCard
from refineseg.model.folders.model_folder import load_model_folder, read_config, save_model_folder
from refineseg.model.presets import create_model
from refineseg.training.checkpoint import checkpoints
from refineseg.training.custom import TrainingEvent
from refineseg.training.loop import train
from refineseg.training.preparation.initial_network import starting_network
from refineseg.training.preparation.prepare_run import prepare_run
from tests.data.made import make_folder

CONFIG = TrainConfig(
    fields={"width": 16, "coarse_width": 16},
    augment=AugmentConfig(crop=(32, 32)),
    steps=6,
    batch_size=2,
    workers=0,
    validate_every=1,
    lr=3e-3,
)


class StopHereError(Exception):
    """Raised by a watcher to break a run off, as a kill would."""


@pytest.fixture
def data(tmp_path: Path) -> SegmentationData:
    root = make_folder(tmp_path, pictures=8)
    (root / "train.txt").write_text("".join(f"p{index}\n" for index in range(6)))
    (root / "val.txt").write_text("p6\np7\n")
    return open_data(f"folder:{root}")


def stop_at(step: int) -> Any:
    def watch(report: TrainingEvent) -> None:
        if report.phase == "train" and report.step == step:
            raise StopHereError

    return watch


def test_a_run_leaves_what_it_says(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    reports: list[TrainingEvent] = []
    evaluation = train(
        CONFIG, data, run, callbacks=[reports.append], device="cpu", command="refineseg train x", commit="abc"
    )
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "metrics.csv", "curves.png", "best", "last", "checkpoints"} <= names
    assert [report.step for report in reports if report.phase == "train"] == [1, 2, 3, 4, 5, 6]
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert float(rows[-1]["mean_iou"]) == pytest.approx(evaluation.scores.mean_iou)
    model, info = load_model_folder(run / "last")
    assert model.config.width == 16
    assert info.provenance["command"] == "refineseg train x"
    assert info.provenance["commit"] == "abc"
    score = json.loads((run / "last" / "config.json").read_text())["scores"][0]
    assert score["mean_iou"] == pytest.approx(evaluation.scores.mean_iou)
    assert "one confusion matrix" in score["protocol"]
    assert not [path for path in run.rglob(".*") if path.is_file()]


def test_train_and_val_are_trained_on_together_and_keep_no_score(data: SegmentationData, tmp_path: Path) -> None:
    """An epoch has the pictures of both, and no score is kept on what was trained on."""
    run, reports = tmp_path / "run", list[TrainingEvent]()
    config = dataclasses.replace(CONFIG, steps=None, epochs=1, batch_size=2, train_splits=("train", "val"))
    train(config, data, run, callbacks=[reports.append], device="cpu")
    pictures = len(data.split("train")) + len(data.split("val"))
    assert [report.steps for report in reports if report.phase == "train"][-1] == -(-pictures // 2)
    assert any("val is or was used for training" in report.note for report in reports if report.phase == "note")
    later = dataclasses.replace(
        CONFIG, model=str(run / "last"), fields={}, steps=1
    )  # was trained on val all the same
    train(later, data, tmp_path / "later", device="cpu")
    for folder in (run / "last", tmp_path / "later" / "last"):
        info = load_model_folder(folder)[1]
        assert info.scores == ()
        assert info.provenance["trained on"] == "train, val"
    with pytest.raises(InputError, match="no pictures in split 'trian'"):
        train(dataclasses.replace(config, train_splits=("trian",)), data, tmp_path / "other", device="cpu")
    with pytest.raises(ConfigError, match="each once"):
        dataclasses.replace(config, train_splits=("train", "train"))


def test_it_learns(data: SegmentationData, tmp_path: Path) -> None:
    losses: list[float] = []
    plain = AugmentConfig(
        (32, 32), scale=(1.0, 1.0), brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, blur=0.0
    )
    config = dataclasses.replace(
        CONFIG, augment=plain, steps=30, batch_size=4, validate_every=100, lr=1e-2, backbone_lr=1.0, ema=0.9
    )

    def watch(report: TrainingEvent) -> None:
        if report.phase == "train":
            losses.append(report.loss)

    evaluation = train(config, data, tmp_path / "run", callbacks=[watch], device="cpu")
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5]), losses
    assert evaluation.scores.pixel_accuracy > 0.6


def test_the_share_of_time_waiting_for_pictures_is_told(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures that take half a second each make a step of two wait for a second, nearly all of its time."""
    shares: dict[str, list[float]] = {"quick": [], "slow": []}
    read = TrainingPictures.__getitem__

    def slowly(pictures: TrainingPictures, draw: SampleKey) -> tuple[Tensor, Tensor]:
        time.sleep(0.5)
        return read(pictures, draw)

    for name, told in shares.items():
        if name == "slow":
            monkeypatch.setattr(TrainingPictures, "__getitem__", slowly)

        def watch(report: TrainingEvent, told: list[float] = told) -> None:
            told += [report.waiting] * (report.phase == "train")

        config = dataclasses.replace(CONFIG, steps=3, validate_every=100)
        train(config, data, tmp_path / name, callbacks=[watch], device="cpu")
    assert all(0 < share < 1 for told in shares.values() for share in told)
    assert min(shares["slow"][1:]) > 0.5
    assert min(shares["slow"][1:]) > max(shares["quick"][1:])


@pytest.mark.parametrize("workers", [0, 1])
def test_resumed_equals_uninterrupted(data: SegmentationData, tmp_path: Path, workers: int) -> None:
    train(CONFIG, data, tmp_path / "whole", device="cpu")
    broken = dataclasses.replace(CONFIG, workers=workers)
    with pytest.raises(StopHereError):
        train(broken, data, tmp_path / "broken", callbacks=[stop_at(5)], device="cpu")
    train(broken, data, tmp_path / "broken", resume=True, device="cpu")
    for kind in ("last", "best"):
        one, other = (load_file(tmp_path / run / kind / "model.safetensors") for run in ("whole", "broken"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    logs = [list(csv.DictReader((tmp_path / run / "metrics.csv").open())) for run in ("whole", "broken")]
    for row in logs[0] + logs[1]:
        row.pop("seconds")
    assert logs[0] == logs[1]


def test_a_torn_checkpoint_gives_way_to_the_one_before(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(StopHereError):
        train(dataclasses.replace(CONFIG, steps=9), data, run, callbacks=[stop_at(7)], device="cpu")
    newest, older = checkpoints(run / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-100])
    seen: list[int] = []
    notes: list[str] = []

    def watch(report: TrainingEvent) -> None:
        if report.phase == "train":
            seen.append(report.step)
        elif report.phase == "note":
            notes.append(report.note)

    train(dataclasses.replace(CONFIG, steps=9), data, run, resume=True, callbacks=[watch], device="cpu")
    assert seen[0] == int(older.stem.rpartition("-")[2]) + 1
    damaged = f"{newest.name} does not match its hash: it is incomplete or was changed"
    assert notes == [damaged, f"the run continues from step {seen[0] - 1}"]
    for path in checkpoints(run / "checkpoints"):
        path.with_suffix(".sha256").unlink()
    with pytest.raises(WeightsError, match="expected an intact checkpoint"):
        train(dataclasses.replace(CONFIG, steps=9), data, run, resume=True, device="cpu")


def test_resuming_before_the_first_checkpoint_begins_anew(data: SegmentationData, tmp_path: Path) -> None:
    train(CONFIG, data, tmp_path / "whole", device="cpu")
    with pytest.raises(StopHereError):
        train(CONFIG, data, tmp_path / "broken", callbacks=[stop_at(2)], device="cpu")
    (tmp_path / "broken" / "checkpoints").mkdir()  # as a kill during the first checkpoint leaves it
    train(CONFIG, data, tmp_path / "broken", resume=True, device="cpu")
    one, other = (load_file(tmp_path / run / "last" / "model.safetensors") for run in ("whole", "broken"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_bad_settings_and_folders(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="holds files"):
        train(CONFIG, data, run, device="cpu")
    assert (run / "mine.txt").read_text() == "keep me"
    with pytest.raises(ConfigError, match=r"unknown model 'nothing': expected a preset \(.*lw-mbv2.*camvid"):
        train(dataclasses.replace(CONFIG, model="nothing"), data, tmp_path / "a", device="cpu")
    with pytest.raises(ConfigError, match="unknown setting"):
        train(dataclasses.replace(CONFIG, fields={"widht": 3}), data, tmp_path / "b", device="cpu")
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("precision", "here", "told"), [("bf16", False, True), ("bf16", True, False), ("32", False, False)]
)
def test_emulated_bf16_is_told_before_the_first_step(
    precision: Any, here: bool, told: bool, data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refineseg.inference.devices.has_bf16", lambda device: here)
    reports: list[TrainingEvent] = []
    config = dataclasses.replace(CONFIG, precision=precision)
    prepare_run(config, data, tmp_path / "run", callbacks=[reports.append], device="cpu")
    assert any("--precision 32" in report.note for report in reports) is told


def test_a_model_folder_with_other_settings(data: SegmentationData, tmp_path: Path) -> None:
    """What leaves the weights' shapes alone may change; what does not is refused, with the tensors."""
    folder = tmp_path / "start"
    model = create_model(CONFIG.model, data.label_map.num_classes, **CONFIG.fields)
    save_model_folder(folder, model, ModelCard("start", data.label_map))
    exact = {"align_corners": False, "exact_strides": True}
    start = dataclasses.replace(CONFIG, model=str(folder), fields=exact)
    changed = starting_network(start, data).model
    assert changed.config == dataclasses.replace(model.config, align_corners=False, exact_strides=True)
    for key, value in model.state_dict().items():
        assert torch.equal(changed.state_dict()[key], value), key
    with pytest.raises(WeightsError, match=r"does not fit the network.*another shape"):
        starting_network(dataclasses.replace(start, fields={"width": 24}), data)
    with pytest.raises(ConfigError, match="unknown setting"):
        starting_network(dataclasses.replace(start, fields={"widht": 24}), data)


def test_unknown_mask_values_stop_before_the_first_step(data: SegmentationData, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (48, 36), 9).save(data.root / "masks" / "p3.png")
    with pytest.raises(LabelError, match=r"p3.png.*found 9 \(1,728 pixels\)"):
        train(CONFIG, data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_resume_with_other_data_is_refused(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(CONFIG, data, run, device="cpu")
    classes = data.label_map.classes
    renamed = dataclasses.replace(classes[1], name="other than before")
    labels = dataclasses.replace(data.label_map, classes=(classes[0], renamed, *classes[2:]))
    splits = {**data.splits, "train": data.split("train")[::-1]}
    for changed, match in (
        ({"label_map": labels}, "label map has changed: .'other than before'"),
        ({"splits": splits}, "training pictures with --resume"),
    ):
        with pytest.raises(ConfigError, match=match):
            train(CONFIG, dataclasses.replace(data, **changed), run, resume=True, device="cpu")


def test_resume_with_other_settings_is_refused(data: SegmentationData, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(CONFIG, data, run, device="cpu")
    with pytest.raises(ConfigError, match="got other lr"):
        train(dataclasses.replace(CONFIG, lr=0.5), data, run, resume=True, device="cpu")


@pytest.mark.parametrize("recipe", ["ohem", "paper", "sgd"])
def test_other_recipes_run(data: SegmentationData, tmp_path: Path, recipe: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "ohem": {"loss": "ohem", "precision": "bf16", "ema": 0.0},
        "paper": {
            "loss_resolution": "paper",
            "freeze_batch_norm": True,
            "balanced_sampling": True,
            "schedule": "step",
        },
        "sgd": {"optimizer": "sgd", "schedule": "poly", "class_weights": 0.5, "label_smoothing": 0.1},
    }
    config = dataclasses.replace(CONFIG, steps=2, **changes[recipe])
    evaluation = train(config, data, tmp_path / "run", device="cpu")
    assert 0 <= evaluation.scores.mean_iou <= 1


def test_the_card_says_what_a_person_says(data: SegmentationData, tmp_path: Path) -> None:
    """Pictures are counted; description and licence are settings, which --resume may change."""
    config = dataclasses.replace(CONFIG, steps=2, description="shop floors", licence="CC-BY-4.0")
    train(config, data, tmp_path / "run", device="cpu")
    card = read_config(tmp_path / "run" / "best")[1]
    assert card.licence == "CC-BY-4.0"
    assert card.provenance["description"] == "shop floors"
    assert card.provenance["pictures"] == "6 train, 2 val"


def test_little_shared_memory_is_an_error_that_names_the_remedy(data: SegmentationData, tmp_path: Path) -> None:
    def full(image: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_9>: No space left")

    config = dataclasses.replace(CONFIG, workers=1)
    with pytest.raises(InputError, match=r"not enough shared memory .*use --workers 0"):
        train(config, data, tmp_path / "run", augment=full, device="cpu")


def test_processes_that_cannot_be_started_are_an_error_that_names_the_remedy(
    data: SegmentationData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))  # semaphores without a writable /dev/shm

    monkeypatch.setattr(torch.utils.data.DataLoader, "__iter__", refused)
    with pytest.raises(InputError, match=r"cannot start data loading processes \(Read-only.*use --workers 0"):
        train(CONFIG, data, tmp_path / "run", device="cpu")
