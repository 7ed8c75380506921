"""The plan: figures measured by hand, choices that follow them, explicit settings that win."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refineseg.cli.main import main
from refineseg.cli.train_settings import build_config
from refineseg.config import TrainConfig
from refineseg.config.yaml import read_yaml
from refineseg.data import open_data
from refineseg.data.splits.held_out import held_out, with_validation
from refineseg.training.planning import plan as planning
from refineseg.training.planning.choose import (
    Choice,
    choose_balance,
    choose_crop,
    choose_network,
    choose_start,
    input_scale,
    known_names,
)
from refineseg.training.planning.data_summary import DataSummary, measure_data, outline_lengths
from refineseg.training.planning.plan import make_plan
from refineseg.training.planning.speed import Machine
from tests.data.made import make_folder

SUMMARY = DataSummary(
    train=100,
    val=10,
    size=(360, 480),
    names=("road", "pole"),
    shares=np.array([0.6, 0.4]),
    shown_by=np.array([1.0, 0.5]),
    thickness=np.array([40.0, 12.0]),
    rgb=True,
)
CPU = Machine("cpu", 2, bf16=False)


def test_thickness_of_stripes_by_hand() -> None:
    """A stripe 3 pixels wide and 20 long, inside: 60 pixels, outline 2 * (3 + 20) sides, thickness 2.6."""
    labels = np.zeros((40, 40), np.uint8)
    labels[10:13, 5:25] = 1
    labels[0, :] = 255
    assert outline_lengths(labels, 2).tolist() == [46, 46]
    labels[13:16, 5:25] = 255  # void is no outline
    assert outline_lengths(labels, 2).tolist() == [26, 26]


def test_facts_of_a_made_set(tmp_path: Path) -> None:
    data = open_data(f"folder:{make_folder(tmp_path, pictures=12)}")
    summary = measure_data(data)
    assert (summary.train, summary.val) == (10, 2)
    assert summary.size == (36, 48)
    masks = np.stack([data.read(sample)[1] for sample in data.split("train")])
    counts = np.bincount(masks.ravel(), minlength=256)[:3]
    np.testing.assert_allclose(summary.shares, counts / counts.sum())
    np.testing.assert_allclose(summary.shown_by, [(masks == value).any((1, 2)).mean() for value in range(3)])


@pytest.mark.parametrize(
    ("width", "size", "scale"),
    [(2.5, (360, 480), 1.5), (12, (360, 480), 1.0), (40, (800, 600), 1.0), (40, (900, 700), 0.5)],
)
def test_thin_things_are_seen_larger(width: float, size: tuple[int, int], scale: float) -> None:
    summary = replace(SUMMARY, thickness=np.array([np.nan, width]), size=size)
    assert input_scale(summary)[0] == scale


def test_a_crop_is_a_whole_picture_where_that_is_small() -> None:
    assert choose_crop(replace(SUMMARY, size=(100, 150)), CPU, 1.0).value == [128, 160]
    large = choose_crop(replace(SUMMARY, size=(1080, 1920)), CPU, 1.0).value
    assert large == [224, 416]  # 16:9, about 90,000 pixels, in steps of 32
    assert choose_crop(replace(SUMMARY, size=(1080, 1920)), CPU, 0.5).value == [448, 832]


def test_uneven_and_seldom_classes_are_balanced() -> None:
    assert choose_balance(SUMMARY) == []
    uneven = replace(SUMMARY, shares=np.array([0.97, 0.03]), shown_by=np.array([1.0, 0.05]))
    chosen = {choice.setting: choice for choice in choose_balance(uneven)}
    assert chosen["class_weights"].value == 0.3
    assert "32 times the pixels of pole" in chosen["class_weights"].reason
    assert chosen["balanced_sampling"].value is True
    absent = replace(SUMMARY, shares=np.array([1.0, 0.0]), shown_by=np.array([1.0, 0.0]))
    assert choose_balance(absent) == []


def test_short_trainings_get_one_block() -> None:
    def cascade(steps: int | None) -> list[object]:
        return [
            choice.value
            for choice in choose_network(SUMMARY, steps, "resnet18")
            if choice.setting == "fields.cascade"
        ]

    assert cascade(300) == cascade(None) == ["single"]
    assert cascade(5000) == []


def test_few_pictures_of_known_classes_start_from_the_general_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pets = replace(SUMMARY, names=("background", "Cat", "hamster"))
    assert known_names(pets.names, {}) == ["Cat"]
    assert known_names(pets.names, {"dog": "hamster", "zebra": "background"}) == ["Cat", "hamster"]
    assert choose_start(pets).value == "everyday"
    assert choose_start(replace(pets, train=5000)).value == "refinenet-lw-mbv2"
    assert choose_start(replace(pets, rgb=False)).value == "refinenet-lw-mbv2"
    assert choose_start(replace(pets, names=("background", "cat", "hamster", "rat"))).value == "refinenet-lw-mbv2"
    pair = replace(pets, names=("background", "hamster", "rat"))
    assert choose_start(pair).value == "refinenet-lw-mbv2"
    assert choose_start(pair, class_map={"cat": "rat"}).value == "everyday"
    assert choose_start(replace(pets, names=("background",))).value == "refinenet-lw-mbv2"
    assert choose_start(SUMMARY).value == "refinenet-lw-mbv2"  # road and pole: ImageNet weights were better
    monkeypatch.setattr("refineseg.training.planning.choose.bundled_models", dict)
    assert choose_start(pets).value == "refinenet-lw-mbv2"


@pytest.mark.parametrize(
    ("choice", "option"),
    [
        (Choice("augment.crop", [128, 160], ""), "--crop 128x160"),
        (Choice("fields.cascade", "single", ""), "--set model.cascade=single"),
        (Choice("balanced_sampling", True, ""), "--set balanced_sampling=true"),
        (Choice("augment.scale", [0.5, 2.0], ""), '--set "augment.scale=[0.5, 2.0]"'),
        (Choice("fields.input_scales", [1.5], ""), '--set "model.input_scales=[1.5]"'),  # a pattern for zsh
    ],
)
def test_every_choice_names_the_option_that_fixes_it(choice: Choice, option: str) -> None:
    assert choice.option == option


def test_length_follows_speed_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data(f"folder:{make_folder(tmp_path, pictures=40)}")
    monkeypatch.setattr(planning, "images_per_second", lambda *_: (10.0, 8))
    made = make_plan(data, TrainConfig(minutes=10))
    # 600 s, less 10 validations of 4 pictures at a third of 0.1 s each; 10 pictures a second, 8 a step.
    assert made.steps == int((600 - 10 * 4 / 30) * 10 / 8)
    assert (made.minutes, made.config.steps) == (10, None), "the clock ends it, whatever was measured"
    free = make_plan(data)
    assert free.steps == free.config.steps == 270  # 60 times 36 pictures, 8 a step
    assert free.minutes == pytest.approx((270 * 8 + 10 * 4 / 3) / 10 / 60)
    short = make_plan(data, TrainConfig(minutes=0.5))
    assert (short.config.batch_size, short.steps) == (4, 71)
    long = make_plan(data, TrainConfig(minutes=60))
    assert "cascade" not in long.config.fields
    assert long.steps > 2000


def test_explicit_settings_win(tmp_path: Path) -> None:
    data = open_data(f"folder:{make_folder(tmp_path, pictures=12)}")
    config = replace(TrainConfig(), steps=3, batch_size=3)
    made = make_plan(data, config, {"steps", "batch_size", "model", "augment.crop"})
    assert made.speed is None, "nothing is measured where the length is given"
    assert (made.config.steps, made.config.batch_size, made.config.fields) == (3, 3, {})
    assert made.config.augment.crop == config.augment.crop
    assert not {"steps", "batch_size", "augment.crop"} & {choice.setting for choice in made.choices}


def test_what_a_settings_file_gives_is_explicit(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("batch_size: 8\naugment: {scale: [1, 1]}\nfields: {width: 16}\n")
    _, given = build_config(file, "modern", {"batch_size": None, "lr": 0.1}, "64x64", ["model.cascade=four"])
    expected = {"batch_size", "lr", "augment.scale", "augment.crop", "fields.width", "fields.cascade"}
    assert given - {"augment", "fields"} == expected


def test_the_one_command_writes_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder(tmp_path, pictures=12)
    words = [
        "train",
        "--data",
        f"folder:{root}",
        "-o",
        str(tmp_path / "run"),
        "--minutes",
        "0.01",
        "--batch-size",
        "2",
    ]
    assert main([*words, "--skip-check", "--set", "workers=0", "--set", "model.width=16"]) == 0
    printed = capsys.readouterr()
    assert "10 train and 2 val pictures, 48x36, 3 classes" in " ".join(printed.out.split())
    assert "model.cascade = single: one block" in printed.out
    assert "starts from: refinenet-lw-mbv2, backbone from ImageNet" in printed.err
    written = read_yaml(tmp_path / "run" / "config.yaml")
    assert (written["fields"]["cascade"], written["fields"]["width"]) == ("single", 16)
    assert (written["minutes"], written.get("steps")) == (0.01, None)
    assert "length: 1 s by the clock, about" in printed.out
    assert "mean IoU" in printed.err


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    stems = [f"photo{letter}_scaled_{piece}" for letter in "abcdefghijklmnopqrst" for piece in range(3)]
    chosen = held_out(stems)
    assert len(chosen) == 6
    assert all(
        stem.rpartition("_scaled")[0] + f"_scaled_{piece}" in chosen for stem in chosen for piece in range(3)
    )
    assert held_out(stems) == chosen
    data = open_data(f"folder:{make_folder(tmp_path, pictures=20)}")
    whole = replace(data, splits={"train": data.split("train") + data.split("val")}, notes=())
    assert len(with_validation(whole).split("val")) == 2
    assert with_validation(whole).notes == ("no split val: held out 2 of 20 training pictures for it",)
    assert with_validation(data) is data
