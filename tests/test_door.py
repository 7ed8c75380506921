"""The public interface: names and options that people's scripts rely on. A change here is a breaking change."""

from __future__ import annotations

import inspect

import pytest
import torch

import refineseg
from refineseg.cli.main import VERBS, main
from refineseg.model import PRESETS

OPTIONS = {
    "predict": "-o --output --model --scales --flip --save --smooth --source --sequence --device --engine",
    "evaluate": "--model --data --split --scales --flip --tile --json --report --engine",
    "train": "--data --model -o --config --backbone-weights --epochs --steps --batch-size --crop --lr --seed "
    "--workers --precision --repeats --resume --drop-bad --set",
    "plan": "--minutes --device",
    "check": "--json --html --quick --data",
    "compare": "",
    "submit": "--model --data -o --validate",
    "convert": "--labels --find --reset-head --void",
    "export": "--model -o --output --format --int8 --calibrate --overwrite",
    "serve": "--model --host --port",
    "bench": "--net --model --against --size --batch --precision --engines --file --training --plan --json",
    "models": "--json --describe --size --classes --svg --set",
    "push": "",
    "data prepare": "-o",
    "data split": "--val --test --group --seed --overwrite",
    "data import": "-o",
    "data export": "-o",
}


def test_names() -> None:
    for name in ("create_model", "load", "evaluate", "train", "export", "Segmenter", "Result", "LabelMap"):
        assert callable(getattr(refineseg, name))
    assert set(refineseg.__all__) == set(dir(refineseg))
    with pytest.raises(AttributeError, match="create_model"):
        _ = refineseg.nothing


def test_verbs() -> None:
    assert {verb.split()[0] for verb in OPTIONS} == {*VERBS, "data"}


@pytest.mark.parametrize("verb", list(OPTIONS))
def test_options(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*verb.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    missing = [option for option in OPTIONS[verb].split() if option not in shown]
    assert not missing
    assert "Example" in shown


def test_presets() -> None:
    full = {f"refinenet-{depth}" for depth in ("r18", "r34", "r50", "r101", "r152")}
    light = {f"refinenet-lw-{depth}" for depth in ("r18", "r34", "r50", "r101", "r152", "mbv2", "lite0", "lite2")}
    assert set(PRESETS) == full | light | {"refinenet-lw-mbv2-released", "refinenet-dpt"}


def test_create_model_and_forward() -> None:
    model = refineseg.create_model("refinenet-lw-mbv2", num_classes=21, backbone_weights=None).eval()
    assert isinstance(model, torch.nn.Module)
    images = torch.rand(1, 3, 45, 61)
    with torch.no_grad():
        assert model(images).shape == (1, 21, 45, 61)
        assert model(images, upsample=False).shape == (1, 21, 12, 16)


def test_predict_takes_what_people_have() -> None:
    parameters = inspect.signature(refineseg.Segmenter.predict).parameters
    assert {"image", "scales", "flip"} <= set(parameters)
    assert {"labels", "class_names", "overlay", "save"} <= set(dir(refineseg.Result)) | {"labels"}
