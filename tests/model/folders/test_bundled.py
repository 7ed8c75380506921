"""The models that come with the package: small, documented, and as good as they say."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import refineseg
from refineseg.cli.main import main
from refineseg.data import SegmentationData, open_data
from refineseg.errors import WeightsError
from refineseg.inference.devices import has_bf16
from refineseg.loading import load
from refineseg.model.folders.find_model import bundled_exports, bundled_models, find_model
from tests.shared import shared

ROOT = Path(__file__).resolve().parents[3]

# Name, least mean IoU on val, a word of the licence of the data, and how it is opened.
MODELS = [
    ("camvid", 0.70, "research", "camvid:{camvid}"),
    ("camvid-fast", 0.744, "research", "camvid:{camvid}"),
    ("everyday", 0.55, "research", "voc2012:{samples}/voc2012"),
    ("people", 0.50, "Apache-2.0", f"{ROOT}/configs/people.yaml:{{clothing_parsing}}"),
]


def opened(spec: str) -> SegmentationData:
    """The data that a model was trained on; skips where it is not there."""
    name = spec[spec.index("{") + 1 : spec.index("}")]
    return open_data(spec.format(**{name: shared("data", name)}))


def test_these_are_all() -> None:
    assert sorted(bundled_models()) == [name for name, *_ in MODELS]


@pytest.mark.parametrize(("name", "least", "licence", "spec"), MODELS)
def test_it_is_small_and_documented(name: str, least: float, licence: str, spec: str) -> None:
    folder = bundled_models()[name]
    assert (folder / "model.safetensors").stat().st_size < 8 * 2**20
    config = json.loads((folder / "config.json").read_text())
    assert config["scores"][0]["mean_iou"] > least
    assert config["scores"][0]["split"] == "val"
    assert config["scores"][0]["boundary"]["mean_boundary_iou"] > 0
    assert config["scores"][0]["intervals"]["mean_iou"][0] < config["scores"][0]["mean_iou"]
    calibration = config["calibration"]
    if calibration:  # where temperatures bring nothing the card says so
        assert calibration["ece_after"] < calibration["ece_before"]
    else:
        assert "none" in config["provenance"]["calibration"]
    for key in ("command", "commit", "torch", "known limits", "machine"):
        assert config["provenance"][key]
    assert licence in config["licence"].partition("training data")[2]
    card = (folder / "README.md").read_text()
    assert "refineseg train" in card
    assert "one confusion matrix" in card
    assert not re.search(r"(?<![.\w])/\w+/\w", card)  # no path of the machine that trained it


def test_the_gate_kept_these_int8_forms() -> None:
    assert sorted(bundled_exports()) == ["camvid-fast-int8", "camvid-int8", "everyday-int8", "people-int8"]


@pytest.mark.parametrize(("name", "least", "licence", "spec"), MODELS)
def test_its_int8_form_runs_by_name(name: str, least: float, licence: str, spec: str) -> None:
    file = bundled_exports()[f"{name}-int8"]
    assert file.stat().st_size < 5 * 2**20
    report = json.loads(file.with_name(f"{file.name}.report.json").read_text())
    assert report["passed"]
    assert report["int8"]["loss_points"] <= 0.5
    assert report["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    pytest.importorskip("onnxruntime")
    photograph = np.tile(np.arange(96, dtype=np.uint8)[:, None], (64, 1, 3)).reshape(64, 96, 3)
    loaded = load(f"{name}-int8")
    assert loaded.card.name == f"{name}-int8"  # as the server calls it
    found = loaded.predict(photograph)
    assert found.labels.shape == (64, 96)
    assert found.label_map.names == refineseg.load(name, device="cpu").class_names
    with pytest.raises(WeightsError, match=f"{name} is the network"):
        find_model(f"{name}-int8")


def test_a_cat_is_a_cat() -> None:
    """chelsea.png shows the face of a cat, astronaut.png a person."""
    photographs = pytest.importorskip("skimage.data")
    segmenter = refineseg.load("everyday", device="cpu")
    for picture, name, least in ((photographs.chelsea(), "cat", 0.6), (photographs.astronaut(), "person", 0.3)):
        shares = segmenter.predict(picture).class_shares
        assert shares[name] > least
        assert sum(shares[other] for other in shares if other not in (name, "background")) < 0.05


def test_a_photograph_with_sky_trees_and_buildings() -> None:
    """china.jpg shows a palace under a sky, behind trees and a paved yard."""
    images = pytest.importorskip("sklearn.datasets")
    photograph = images.load_sample_image("china.jpg")
    shares = refineseg.load("camvid", device="cpu").predict(photograph).class_shares
    assert shares["Sky"] > 0.15
    assert shares["Building"] > 0.1
    assert shares["Tree"] > 0.03


def test_two_portraits() -> None:
    """Packages' own photographs, as the demo shows them: faces, hair and clothes before a background."""
    data, pictures = pytest.importorskip("skimage.data"), pytest.importorskip("matplotlib.cbook")
    segmenter = refineseg.load("people", device="cpu")
    for photograph in (data.astronaut(), pictures.get_sample_data("grace_hopper.jpg", asfileobj=False)):
        shares = segmenter.predict(photograph, scales=(0.35, 0.5, 0.75)).class_shares
        assert 0.4 < shares["background"] < 0.75
        assert shares["upper body"] > 0.1
        assert shares["skin"] > 0.03
        assert shares.get("hair", 0) + shares.get("hat", 0) > 0.02  # she in the uniform cap shows little hair


@pytest.mark.parametrize("name", [name for name, *_ in MODELS])
def test_a_model_trained_on_val_says_whose_score_it_gives(name: str) -> None:
    """It is that of a copy trained without val, to the last digit."""
    said = json.loads((bundled_models()[name] / "config.json").read_text())
    trained, score = "val" in said["provenance"]["trained on"].split(", "), said["scores"][0]
    assert ("copy trained without val" in score["protocol"]) is trained
    if trained:
        folder = ROOT / "runs" / f"{name}-without-val"
        copy = json.loads((folder / "config.json").read_text())
        assert "val" not in copy["provenance"]["trained on"].split(", ")
        assert copy["scores"][0]["iou"] == score["iou"]
        assert not re.search(r"(?<![.\w])/\w+/\w", (folder / "README.md").read_text())


@pytest.mark.parametrize(("name", "spec"), [(name, spec) for name, _, _, spec in MODELS])
def test_its_score_on_a_part_of_val(name: str, spec: str) -> None:
    data = opened(spec)
    segmenter = refineseg.load(name, device="cpu")
    right = valid = 0
    for sample in data.split("val")[::25]:
        image, truth = data.read(sample)
        labels = segmenter.predict(image).labels
        known = truth != 255
        right += int((labels == truth)[known].sum())
        valid += int(known.sum())
    assert right / valid > 0.88


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spec"), [(name, spec) for name, _, _, spec in MODELS])
def test_its_score_is_the_one_on_the_card(name: str, spec: str) -> None:
    """A model trained on val gives the score of a copy trained without it, and knows val better itself."""
    data = opened(spec)
    if "{samples}" in spec:
        pytest.skip("only a few of the pictures that it was scored on are here")
    segmenter = refineseg.load(name, device="cpu")
    said = segmenter.card.scores[0]
    measured = refineseg.evaluate(segmenter, data, "val")
    if segmenter.card.was_trained_on(data.name, "val"):
        assert measured.scores.mean_iou > said["mean_iou"]
        measured = refineseg.evaluate(
            refineseg.load(ROOT / "runs" / f"{name}-without-val", device="cpu"), data, "val"
        )
    assert measured.scores.mean_iou == pytest.approx(said["mean_iou"], abs=2e-4)
    for name, iou in zip(measured.class_names, measured.scores.iou, strict=True):
        assert iou == pytest.approx(said["iou"][name], abs=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_forty_steps_of_the_training_that_made_it(tmp_path: Path) -> None:
    """The README's training, cut short, in bf16 where the processor has it: far above chance after 40 steps."""
    weights = shared("weights", "mobilenetv2_100_imagenet.safetensors")
    words = (
        f"train --data camvid:{shared('data', 'camvid')} --model refinenet-lw-mbv2 --backbone-weights {weights} "
    )
    words += (
        f"--steps 40 --batch-size 8 --lr 0.001 --precision {'bf16' if has_bf16(torch.device('cpu')) else '32'} "
    )
    words += "--set model.align_corners=false "
    words += f"--set model.dropout=0 --set class_weights=0.3 --set ema=0.9 -o {tmp_path / 'run'}"
    assert main(words.split()) == 0
    score = json.loads((tmp_path / "run" / "best" / "config.json").read_text())["scores"][0]
    assert score["mean_iou"] > 0.3
    assert np.isfinite(score["pixel_accuracy"])
