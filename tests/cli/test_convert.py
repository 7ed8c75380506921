"""refineseg convert and refineseg models, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from refineseg.cli.convert import convert, read_label_map
from refineseg.cli.models import models
from refineseg.errors import ConfigError, InputError, WeightsError
from refineseg.model.folders.model_folder import read_config
from tests.model import port_reference as port


def run(command: object, *words: object) -> str:
    """What the command prints; its errors are raised, as cli.main sees them."""
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.save(port.random_tensors(port.mobilenet_port_shapes(11)), tmp_path / "mb.pth")
    return tmp_path / "mb.pth"


def test_converts_with_a_benchmarks_names(checkpoint: Path, tmp_path: Path) -> None:
    printed = run(convert, checkpoint, tmp_path / "model", "--labels", "camvid")
    assert "recognised as refinenet-lw-mbv2-released" in printed
    assert read_config(tmp_path / "model")[1].labels.names[:2] == ["Sky", "Building"]
    printed = run(convert, checkpoint, tmp_path / "new", "--reset-head", 3)
    assert "initialised at random: classifier.weight, classifier.bias" in printed
    assert "3 classes without names" in printed


def test_a_mismatch_prints_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = port.random_tensors(port.mobilenet_port_shapes(11))
    del state["conv_adapt3.weight"]
    torch.save(state, tmp_path / "mb.pth")
    with pytest.raises(WeightsError, match="1 tensor missing"):
        convert(str(tmp_path / "mb.pth"), tmp_path / "model")
    assert "conv_adapt3.weight" in capsys.readouterr().out


def test_decoders(tmp_path: Path) -> None:
    torch.save(port.random_tensors(port.dpt_shapes((4, 4, 4, 4), 4, True)), tmp_path / "dpt.pt")
    assert "load_dpt_decoder" in run(convert, tmp_path / "dpt.pt", tmp_path / "decoder")


def test_find(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".torch/models").mkdir(parents=True)
    checkpoint.rename(tmp_path / ".torch/models/mb.pth")
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    assert "1 of 1 checkpoint file recognised" in run(convert, "--find")
    with pytest.raises(InputError, match="--find alone"):
        convert(str(checkpoint), find=True)


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("labels: {classes: [wall, door]}")
    assert read_label_map(str(tmp_path / "mine.yaml")).names == ["wall", "door"]
    assert read_label_map("camvid").num_classes == 11
    with pytest.raises(InputError, match="camvid"):
        read_label_map("nothing")
    with pytest.raises(InputError, match="File not found: none"):
        read_label_map("none.yaml")
    (tmp_path / "odd.yaml").write_text("3")
    with pytest.raises(ConfigError, match="expected names and values"):
        read_label_map(str(tmp_path / "odd.yaml"))
    with pytest.raises(InputError, match="CHECKPOINT and OUT"):
        convert()


def test_models_describes_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    words = ("--describe", "refinenet-lw-r18", "--size", "96x160", "--set", "width=16", "--set", "coarse_width=16")
    printed = run(models, *words, "--svg", tmp_path / "net.svg", "--json", tmp_path / "net.json")
    assert "block 4" in printed
    assert "with the 40 of NYUDv2" in printed
    assert (tmp_path / "net.svg").read_text().startswith("<svg")
    content = json.loads((tmp_path / "net.json").read_text())
    assert content["size"] == [96, 160]
    assert [stage["name"] for stage in content["stages"]][-1] == "classifier"
    for wrong in (("--describe", "refinenet-lw-r18", "--size", "96"), ("--svg", tmp_path / "x.svg")):
        with pytest.raises(InputError, match="expected --s"):
            run(models, *wrong)
    dpt = ("--describe", "refinenet-dpt", "--size", "96x160", "--set", "backbone=test_vit", "--set", "width=16")
    printed = run(models, *dpt, "--svg", tmp_path / "dpt.svg")
    assert "21x96x160" in printed
    assert "field:" not in printed, "a transformer sees the whole picture"
    assert "test_vit" in (tmp_path / "dpt.svg").read_text()


def test_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    printed = run(models, "--json", tmp_path / "models.json")
    assert "refinenet-lw-r50.nekrasov-voc2012" in printed
    content = json.loads((tmp_path / "models.json").read_text())
    sizes = {entry["preset"]: entry["parameters"] for entry in content["presets"]}
    assert sizes["refinenet-lw-r50"] == 27_357_525  # published
    assert sizes["refinenet-lw-mbv2-released"] == 3_284_565  # published
    assert {entry["state"].split(":")[0][:13] for entry in content["weights"]} == {"bundled", "not available"}
