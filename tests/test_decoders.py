"""Random damage to labels, settings, model folders and checkpoints: read, or refused in one line."""

from __future__ import annotations

import hashlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from refineseg.config import ModelConfig, TrainConfig
from refineseg.config.yaml import parse_yaml
from refineseg.errors import ConfigError, WeightsError
from refineseg.labels import LabelMap
from refineseg.model.folders.model_folder import read_config
from refineseg.model.tensors.checkpoints import read_checkpoint
from refineseg.training.checkpoint import load_checkpoint, save_checkpoint
from tests.data.formats.fuzz import JUNK, damage, one_line_or_nothing

MANY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LABELS = LabelMap.from_names(["road", "sky", "car"]).to_dict()
CONFIG = ModelConfig(num_classes=3).to_dict()
FOLDER: dict[str, Any] = {"format": 1, "name": "m", "labels": LABELS, "model": CONFIG, "calibration": {}}


@MANY
@given(st.data())
def test_labels(data: st.DataObject) -> None:
    one_line_or_nothing(lambda: LabelMap.from_dict(damage(LABELS, data.draw)))


@MANY
@given(st.data(), st.sampled_from([ModelConfig, TrainConfig]))
def test_settings(data: st.DataObject, kind: type[ModelConfig] | type[TrainConfig]) -> None:
    values = damage(kind().to_dict(), data.draw)
    one_line_or_nothing(lambda: kind.from_dict(values))


@MANY
@given(st.text(max_size=60) | st.text("[]{}:,-&*!?|>%@ \n\tab01.", max_size=60))
def test_yaml_texts(text: str) -> None:
    one_line_or_nothing(lambda: parse_yaml(text))


@MANY
@given(JUNK)
def test_yaml_is_read_as_it_was_written(value: Any) -> None:
    text = yaml.safe_dump(value)
    assert repr(parse_yaml(text)) == repr(yaml.safe_load(text))


def test_yaml_of_references_without_end() -> None:
    with pytest.raises(ConfigError, match="more than 200,000 values"):
        parse_yaml("&x [*x]")


def test_a_format_that_is_a_long_text_is_cut(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FOLDER | {"format": "x" * 5000}))
    with pytest.raises(WeightsError, match="expected format 1") as caught:
        read_config(tmp_path)
    assert len(str(caught.value)) < 1000


@MANY
@given(st.data())
def test_config_of_a_model_folder(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(damage(FOLDER, data.draw)))
        one_line_or_nothing(lambda: read_config(Path(folder)))


def test_a_type_that_is_a_long_text_is_cut(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "x" * 5000, "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "c.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(WeightsError, match="damaged") as caught:
        read_checkpoint(path)
    assert len(str(caught.value)) < 1000


@FEW
@given(st.data())
def test_checkpoints_to_convert(data: st.DataObject) -> None:
    good = save({"a.weight": torch.arange(6.0)})
    size = struct.unpack("<Q", good[:8])[0]
    header = json.dumps(damage(json.loads(good[8 : 8 + size]), data.draw)).encode()
    whole = struct.pack("<Q", data.draw(st.sampled_from([len(header), 0, 2**63]))) + header + good[8 + size :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.safetensors"
        path.write_bytes(whole)
        one_line_or_nothing(lambda: read_checkpoint(path))


@FEW
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4), st.booleans())
def test_pickled_checkpoints(place: int, bytes_: bytes, pickled: bool) -> None:
    """Bytes changed anywhere: of a checkpoint to convert, and of a run's own one with a matching hash."""
    with tempfile.TemporaryDirectory() as name:
        path = save_checkpoint(Path(name), 3, {"position": {"step": 3}, "weight": torch.arange(40.0)})
        content = bytearray(path.read_bytes())
        place %= len(content)
        content[place : place + len(bytes_)] = bytes_
        path.write_bytes(content)
        if pickled:
            one_line_or_nothing(lambda: read_checkpoint(path))
            return
        path.with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())
        one_line_or_nothing(lambda: load_checkpoint(Path(name)))
