"""Engines from the door: exported files, the cache of exports, and what ``auto`` takes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import refineseg
from refineseg import loading as opening
from refineseg.cli.main import main
from refineseg.deploy import export as module
from refineseg.deploy.report import ExportReport
from refineseg.errors import InputError, WeightsError
from refineseg.inference.predictor import Segmenter
from refineseg.inference.tiles.receptive_field import probe_picture
from refineseg.model.refinenet import RefineNet
from refineseg.system.files import cache_folder
from tests.data.made import make_folder

PICTURE = probe_picture(70, 90)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("REFINESEG_CACHE", str(folder))
    return folder


def fill_cache(folder: Path, exported: tuple[Path, ExportReport], engine_ms: float = 1.0) -> Path:
    """The export in the place where ``load`` looks for the folder's, as fast as said."""
    place = opening.export_cache(folder)
    place.mkdir(parents=True)
    shutil.copy(exported[0], place / "model.onnx")
    report = json.loads(exported[0].with_name("small.onnx.report.json").read_text())
    report |= {"engine_ms": engine_ms, "torch_ms": 10.0}
    (place / "model.onnx.report.json").write_text(json.dumps(report))
    return place / "model.onnx"


def test_an_exported_file_predicts_as_the_folder(exported: tuple[Path, ExportReport], model_folder: Path) -> None:
    wanted, found = refineseg.load(model_folder, "cpu"), refineseg.load(exported[0])
    assert isinstance(found, Segmenter)
    with pytest.raises(InputError, match="is an exported file: it has no"):
        _ = found.model
    assert found.class_names == wanted.class_names
    assert np.array_equal(found.predict(PICTURE).labels, wanted.predict(PICTURE).labels)


def test_without_an_engine_a_folder_is_torch(
    cache: Path, exported: tuple[Path, ExportReport], model_folder: Path
) -> None:
    fill_cache(model_folder, exported)
    segmenter = refineseg.load(model_folder, "cpu")
    assert segmenter.runner.name == "torch"


def test_auto_never_exports(cache: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "export", lambda *_, **__: pytest.fail("exported"))
    assert refineseg.load(model_folder, engine="auto").runner.name == "torch"
    assert not cache.exists()


@pytest.mark.parametrize(("engine_ms", "taken"), [(5.0, True), (9.8, False), (20.0, False)])
def test_auto_takes_what_was_faster(
    cache: Path, exported: tuple[Path, ExportReport], model_folder: Path, engine_ms: float, taken: bool
) -> None:
    fill_cache(model_folder, exported, engine_ms)
    segmenter = refineseg.load(model_folder, "cpu", engine="auto")
    assert segmenter.runner.name == ("onnxruntime" if taken else "torch")
    assert isinstance(segmenter.model, RefineNet)  # whatever runs it
    wanted = refineseg.load(model_folder, "cpu").predict(PICTURE, flip=True, probabilities=True)
    found = segmenter.predict(PICTURE, flip=True, probabilities=True)
    assert np.array_equal(found.labels, wanted.labels)
    assert ("onnxruntime" in segmenter.fingerprint()) == taken


@pytest.mark.parametrize("harm", ["missing", "cut", "refused", "no report", "other weights"])
def test_auto_passes_over_what_is_not_whole(
    cache: Path, exported: tuple[Path, ExportReport], model_folder: Path, tmp_path: Path, harm: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    path = fill_cache(folder, exported)
    report = path.with_name("model.onnx.report.json")
    assert opening.fastest_export(folder) == path
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "refused":
        report.write_text(report.read_text().replace('"passed": true', '"passed": false'))
    elif harm == "no report":
        report.write_text("{")
    else:
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "model.safetensors").write_bytes(content)
    assert opening.fastest_export(folder) is None


def test_an_engine_exports_a_folder_once(
    cache: Path, exported: tuple[Path, ExportReport], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def export(folder: Path, path: Path, overwrite: bool) -> None:
        assert (folder, overwrite) == (model_folder, True)
        made.append(fill_cache(model_folder, exported))
        assert path == made[0]

    monkeypatch.setattr(module, "export", export)
    said: list[str] = []
    for _ in range(2):
        segmenter = refineseg.load(model_folder, engine="onnxruntime", say=said.append)
        assert segmenter.runner.name == "onnxruntime"
    assert len(made) == len(said) == 1


def test_what_does_not_fit_is_said(
    exported: tuple[Path, ExportReport], model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="expected --engine auto, torch, onnxruntime, openvino, got 'tensorrt'"):
        refineseg.load(model_folder, engine="tensorrt")
    with pytest.raises(InputError, match=r"auto or onnxruntime or openvino for small\.onnx"):
        refineseg.load(exported[0], engine="torch")
    with pytest.raises(InputError, match="expected --device cpu with an exported file"):
        refineseg.load(exported[0], device="cuda")
    with pytest.raises(InputError, match="expected --precision 32 with onnxruntime"):
        refineseg.load(exported[0], precision="bf16")
    with pytest.raises(WeightsError, match="File not found: "):
        refineseg.load(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="cannot read"):
        refineseg.load(tmp_path / "bad.onnx")


def test_the_cache_lies_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("REFINESEG_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "refineseg"
    monkeypatch.setenv("REFINESEG_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_predict_and_evaluate_take_an_exported_file(
    exported: tuple[Path, ExportReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PICTURE).save("street.png")
    model = str(exported[0])
    assert main(["predict", "street.png", "-o", "out", "--model", model, "--flip", "--save", "mask,probs"]) == 0
    labels = np.asarray(Image.open("out/masks/street.png"))
    assert np.array_equal(labels, refineseg.load(model).predict("street.png", flip=True).labels)

    root = make_folder(tmp_path, 4)
    (root / "labels.yaml").write_text("classes: [sky, left-arm, right-arm, road, tree]\nignore: [255]\n")
    scores = ["--data", f"folder:{root}", "--split", "val", "--json", "score.json"]
    assert main(["evaluate", "--model", model, *scores]) == 0
    score = json.loads(Path("score.json").read_text())
    assert score["engine"] == "onnxruntime"
    assert score["pictures"] >= 1
    capsys.readouterr()
    assert main(["evaluate", "--model", model, *scores, "--calibrate", "global"]) == 2
    assert "export it after" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_by_name_makes_its_export_and_uses_it(
    cache: Path, model_folder: Path, engine: str, tmp_path: Path
) -> None:
    segmenter = refineseg.load(model_folder, engine=engine)
    assert segmenter.runner.name == engine
    wanted = refineseg.load(model_folder, "cpu").predict(PICTURE, scales=(0.75, 1.25), flip=True)
    assert np.mean(segmenter.predict(PICTURE, scales=(0.75, 1.25), flip=True).labels == wanted.labels) > 0.999
    assert refineseg.load(model_folder, engine="auto") is not None
