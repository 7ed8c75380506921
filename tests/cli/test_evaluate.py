"""refineseg evaluate: protocols, measures, and temperatures that end up in the model folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from refineseg.cli.main import main
from refineseg.labels import LabelMap
from refineseg.model.folders.model_folder import ModelCard, load_model_folder, save_model_folder
from refineseg.model.presets import create_model
from tests.evaluation.pictures import label_map, make_data

LABELS = label_map(3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model folder with random weights and a data set, as the options name them."""
    root = tmp_path_factory.mktemp("evaluate")
    make_data(root / "images", ["a", "b"], LABELS, (32, 32))
    (root / "images" / "masks").rename(root / "masks")
    (root / "val.txt").write_text("a\nb\n")
    (root / "labels.yaml").write_text(json.dumps(LABELS.to_dict()))
    torch.manual_seed(0)
    labels = LabelMap.from_dict(LABELS.to_dict())
    save_model_folder(root / "model", create_model("refinenet-lw-mbv2", 3), ModelCard("m", labels))
    return str(root / "model"), f"folder:{root}"


def test_protocol_measures_and_calibration(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = folders
    path = tmp_path / "score.json"
    arguments = ["evaluate", "-m", model, "-d", data, "--protocol", "ade20k", "--measure", "boundary,calibration"]
    assert main([*arguments, "--flip", "--calibrate", "global", "--json", str(path)]) == 0
    values = json.loads(path.read_text())
    assert values["protocol"]["name"] == "custom"  # ade20k does not flip
    assert (values["protocol"]["mean_over"], values["protocol"]["flip"]) == ("zero", True)
    assert values["calibration"]["ece"] is not None
    printed = " ".join(capsys.readouterr().out.split())
    assert "with flip" in printed
    assert "mean boundary iou" in printed
    assert "95 % interval" in printed
    stored = load_model_folder(model)[1].calibration
    assert len(stored["temperatures"]) == 3
    assert stored["split"] == "val"


def test_a_score_on_what_was_trained_on_is_called_so(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = folders
    network, info = load_model_folder(model)
    for trained_on, told in (("train", False), ("train, val", True)):
        folder = tmp_path / trained_on.replace(", ", "-")
        known = {"data": Path(data).name, "trained on": trained_on}
        save_model_folder(folder, network, dataclasses.replace(info, provenance=known))
        assert main(["evaluate", "-m", str(folder), "-d", data]) == 0
        assert (f"was trained on {Path(data).name} val" in " ".join(capsys.readouterr().out.split())) is told


def test_bad_options_end_with_2(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    model, data = folders
    for options in (["--protocol", "papre"], ["--measure", "speed"], ["--calibrate", "vector"]):
        assert main(["evaluate", "-m", model, "-d", data, *options]) == 2
        assert (
            capsys.readouterr()
            .err.strip()
            .startswith(("error: expected", "error: unknown protocol 'papre': known"))
        )


def test_report(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = folders
    folder = tmp_path / "deep" / "report"
    assert main(["evaluate", "-m", model, "-d", data, "--measure", "sizes", "--report", str(folder)]) == 0
    assert "index.html" in "".join(capsys.readouterr().out.split())
    assert sorted(item.name for item in folder.iterdir()) == ["evaluation.json", "index.html"]
    values = json.loads((folder / "evaluation.json").read_text())
    assert {"sizes", "boundary", "calibration", "distance", "suspects", "model"} <= set(values)
    assert "</html>" in (folder / "index.html").read_text()


def test_a_report_that_cannot_be_written_is_refused_at_once(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["evaluate", "-m", folders[0], "-d", folders[1], "--report", str(tmp_path / "file")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: expected an output folder")
    assert "mean IoU" not in printed.out
