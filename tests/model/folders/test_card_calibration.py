"""The calibration in a model folder."""

from __future__ import annotations

import json
from pathlib import Path

from refineseg.labels import LabelMap
from refineseg.model.folders.model_folder import (
    CARD,
    CONFIG,
    ModelCard,
    load_model_folder,
    save_model_folder,
    store_calibration,
)
from refineseg.model.presets import create_model


def test_calibration_round_trip_and_folders_without_one(tmp_path: Path) -> None:
    labels = LabelMap.from_names(["a", "b"])
    calibration = {"temperatures": [1.5, 2.25], "kind": "by predicted class", "ece_before": 0.1}
    info = ModelCard("m", labels, calibration=calibration)
    save_model_folder(tmp_path / "m", create_model("refinenet-lw-mbv2", 2), info)
    assert load_model_folder(tmp_path / "m")[1].calibration == calibration
    config = tmp_path / "m" / CONFIG
    values = json.loads(config.read_text())
    del values["calibration"]  # as folders were written before
    config.write_text(json.dumps(values))
    assert load_model_folder(tmp_path / "m")[1].calibration == {}
    store_calibration(tmp_path / "m", calibration)
    assert load_model_folder(tmp_path / "m")[1] == info
    store_calibration(tmp_path / "m", calibration | {"data": "streets", "split": "val", "ece_after": 0.04})
    card = (tmp_path / "m" / CARD).read_text()
    assert (
        "by predicted class, fitted on streets val; expected calibration error 0.1000 before, 0.0400 after" in card
    )
    store_calibration(tmp_path / "m", {})
    assert "calibrated" not in (tmp_path / "m" / CARD).read_text()
