"""Settings: from and to plain values, overrides, and what they say when something is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refineseg.config import AugmentConfig, ModelConfig, TrainConfig, paper_recipe
from refineseg.config.yaml import read_yaml, to_yaml
from refineseg.errors import ConfigError


@pytest.mark.parametrize("config", [TrainConfig(), paper_recipe(), ModelConfig(), AugmentConfig(crop=(3, 4))])
def test_there_and_back(config: TrainConfig | ModelConfig | AugmentConfig) -> None:
    assert type(config).from_dict(config.to_dict()) == config
    assert type(config).from_dict(yaml.safe_load(to_yaml(config.to_dict()))) == config


def test_overrides() -> None:
    config = TrainConfig().override(
        ["lr=1e-3", "augment.crop=300", "augment.scale=[0.7, 1.3]", "loss=ohem", "precision=bf16", "steps=10"]
    )
    assert config.lr == 0.001
    assert config.augment.crop == (300, 300)
    assert config.augment.scale == (0.7, 1.3)
    assert (config.loss, config.precision, config.steps) == ("ohem", "bf16", 10)
    assert TrainConfig().override(["precision=32"]).precision == "32"
    assert TrainConfig(steps=3).override(["steps=null"]).steps is None
    assert ModelConfig().override(["align_corners=false"]).align_corners is False


def test_values_are_read_each_by_itself() -> None:
    """exact_strides limits the input scales, which the changed network may have already; that is for it to say."""
    found = ModelConfig.read(["exact_strides=true", "input_scales=[1.5]", "dropout=0"])
    assert found == {
        "exact_strides": True,
        "input_scales": [1.5],
        "backbone_dropout": 0.0,  # both rates were one setting up to 0.1
        "classifier_dropout": 0.0,
    }
    for wrong in ("widht=3", "width=wide", "width"):
        with pytest.raises(ConfigError):
            ModelConfig.read([wrong])


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("lr", "NAME=VALUE"),
        ("lrr=1", "did you mean lr"),
        ("augment.krop=1", "unknown setting augment.krop"),
        ("lr.x=1", "unknown setting lr.x"),
        ("lr=fast", "lr to be float"),
        ("epochs=1.5", "epochs to be int"),
        ("freeze_batch_norm=maybe", "freeze_batch_norm to be bool"),
        ("metric=f1", "one of mean_iou, pixel_accuracy"),
        ("augment.crop=[1, 2, 3]", "augment.crop to be a list"),
        ("augment=3", "settings under augment"),
        ("ema=1.5", "ema in"),
        ("batch_size=0", r"batch_size in \[1, 100000\]"),
        ("lr=0", "lr above 0"),
        ("lr=.inf", "lr above 0"),
        ("lr=.nan", "lr above 0"),
        ("weight_decay=-1", "weight_decay of 0 or more"),
        ("steps=0", "steps in"),
        ("augment.crop=[1, 0]", r"crop in \[1, 16384\]"),
        ("augment.scale=[2, 1]", "scale with the smallest first"),
        ("lr=[", "cannot read the value"),
    ],
)
def test_wrong_overrides(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        TrainConfig().override([assignment])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "3", "a: [", "{1: 2}", "\x00"])
def test_yaml_files_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        read_yaml(path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("a: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError):
        read_yaml(path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([field.name for field in dataclasses.fields(TrainConfig)]) | st.text(max_size=6)


@pytest.mark.parametrize("values", [{"": None}, {"decoder": "fast"}, {"decoder": True}, {1: 2.0}, {"decoder": -1}])
def test_multipliers_are_numbers_by_name(values: dict[Any, Any]) -> None:
    assert TrainConfig.from_dict({"lr_multipliers": {"decoder": 2}}).lr_multipliers == {"decoder": 2.0}
    with pytest.raises(ConfigError, match="lr_multipliers"):
        TrainConfig.from_dict({"lr_multipliers": values})


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_values_are_taken_or_refused_by_a_config_error(values: dict[str, Any]) -> None:
    try:
        config = TrainConfig.from_dict(values)
    except ConfigError:
        return  # any other exception fails the test
    assert TrainConfig.from_dict(config.to_dict()) == config
