"""Weights as records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from refineseg.labels import LabelMap
from refineseg.model import PRESETS, create_model
from refineseg.model.folders import find_model
from refineseg.model.folders.model_folder import ModelCard, save_model_folder
from refineseg.model.folders.records import HISTORIC, PublishedScore, WeightRecord, all_records, bundled_records


def test_a_hash_is_64_hexadecimal_digits() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        WeightRecord("net.tag", None, "voc2012", "MIT", "test", "none", "abc")


def test_the_historic_table() -> None:
    names = [entry.name for entry in HISTORIC]
    assert len(set(names)) == len(names) == 22  # 11 light-weight ResNets, MobileNet-v2, ResNet-101, 9 of MATLAB
    assert all(entry.preset is None or entry.preset in PRESETS for entry in HISTORIC)
    assert all(entry.sha256 is None for entry in HISTORIC)  # none was ever published
    scores = {entry.name: entry.score for entry in HISTORIC}
    assert scores["refinenet-lw-r152.nekrasov-pascal-context"] == PublishedScore(
        0.458, "val", "single scale, no flip, as published"
    )
    assert "refinenet-lw-r50.nekrasov-pascal-context" not in scores


def test_bundled_models_are_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_model, "BUNDLED", tmp_path)
    scores: dict[str, object] = {"data": "toy", "split": "val", "mean_iou": 0.5, "pixel_accuracy": 1.0}
    scores |= {"mean_class_accuracy": 1.0, "protocol": "p", "iou": {}}
    scores |= {"intervals": {"mean_iou": [0.4, 0.6], "level": 0.95, "method": "m"}}
    info = ModelCard("toy", LabelMap.from_names(["a", "b"]), (scores,), {}, "MIT")
    save_model_folder(tmp_path / "toy", create_model("refinenet-lw-mbv2", 2), info)
    (entry,) = bundled_records()
    assert (entry.name, entry.preset, entry.dataset, entry.class_names) == (
        "toy",
        "refinenet-lw-mbv2",
        "toy",
        "a, b",
    )
    assert entry.score == PublishedScore(0.5, "val", "p", (0.4, 0.6))
    file = tmp_path / "toy" / find_model.INT8
    file.write_bytes(b"int8")
    report: dict[str, Any] = {"int8": {"mean_iou": 0.49, "judged_on": "val", "trained_on_it": True}}
    file.with_name(f"{file.name}.report.json").write_text(json.dumps(report))
    assert bundled_records()[1].score is None
    report["int8"]["trained_on_it"] = False
    file.with_name(f"{file.name}.report.json").write_text(json.dumps(report))
    _, eight = bundled_records()
    assert (eight.name, eight.preset, eight.licence, eight.sha256) == (
        "toy-int8",
        entry.preset,
        "MIT",
        hashlib.sha256(b"int8").hexdigest(),
    )
    assert eight.score == PublishedScore(0.49, "val", "p")
    assert entry.sha256 == hashlib.sha256((tmp_path / "toy" / "model.safetensors").read_bytes()).hexdigest()
    assert [entry.name for entry in all_records()][:3] == ["toy", "toy-int8", "mobilenetv2_100.imagenet"]
