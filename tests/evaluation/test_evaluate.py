"""evaluate: the predictor of predict, sums over the data set, memory that does not grow with the pictures."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refineseg.data import open_data
from refineseg.errors import InputError
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.metrics import MEANS, confusion_matrix, scores
from refineseg.evaluation.protocol import Protocol
from refineseg.inference.result import Result
from tests.data.made import make_folder
from tests.evaluation.pictures import ColorNet, label_map, make_data, make_segmenter

LABELS = label_map(4)


def test_it_is_predict_summed_over_the_split(tmp_path: Path) -> None:
    data = make_data(tmp_path, ["a", "b", "c"], LABELS)
    segmenter = make_segmenter(LABELS)
    seen: list[tuple[int, int]] = []
    result = evaluate(segmenter, data, progress=lambda done, of: seen.append((done, of)))
    total = np.zeros((4, 4), np.int64)
    for sample in data.split("val"):
        image, truth = data.read(sample)
        total += confusion_matrix(truth, segmenter.predict(image).labels, 4)
    assert (result.confusion == total).all()
    assert result.scores.mean_iou == scores(total).mean_iou
    assert 0.3 < result.scores.mean_iou < 1
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_data_may_be_named_as_on_the_command_line(tmp_path: Path) -> None:
    root = make_folder(tmp_path, 2)
    data = open_data(f"folder:{root}")
    segmenter = make_segmenter(data.label_map)
    named = evaluate(segmenter, f"folder:{root}", "train")
    assert (named.confusion == evaluate(segmenter, data, "train").confusion).all()
    with pytest.raises(InputError, match="Folder not found"):
        evaluate(segmenter, f"folder:{tmp_path / 'none'}")
    with pytest.raises(InputError, match=r"expected a Segmenter, got 'everyday': use refineseg.load"):
        evaluate("everyday", data)  # type: ignore[arg-type]


def test_protocol_reaches_the_predictor_and_the_mean(tmp_path: Path) -> None:
    data = make_data(tmp_path, ["a"], LABELS)
    segmenter = make_segmenter(LABELS)
    assert isinstance(segmenter.model, ColorNet)
    protocol = Protocol("mine", scales=(0.5, 1.0), flip=True, short_edge=(64, 100), mean_over="zero")
    result = evaluate(segmenter, data, protocol=protocol)
    assert segmenter.model.sizes == [(32, 48), (32, 48), (64, 96), (64, 96)]  # twice the size, then 0.5 and 1
    assert result.scores.mean_iou == scores(result.confusion, "zero").mean_iou
    assert result.to_dict()["protocol"]["short_edge"] == [64, 100]
    custom = evaluate(segmenter, data, scales=(0.75,))
    assert (custom.protocol.name, custom.protocol.scales) == ("custom", (0.75,))
    assert evaluate(segmenter, data, scales=(1.0,), flip=False).protocol.name == "single"


@pytest.mark.parametrize(("tile", "window"), [("whole", None), ("auto", "auto"), ("512", 512)])
def test_tile_reaches_the_predictor_and_the_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile: str, window: int | str | None
) -> None:
    data = make_data(tmp_path, ["a"], LABELS)
    segmenter = make_segmenter(LABELS)
    asked: list[object] = []
    predict = segmenter.predict

    def watched(image: Any, **given: Any) -> Result:
        asked.append(given["tile"])
        return predict(image)

    monkeypatch.setattr(segmenter, "predict", watched)
    measured = evaluate(segmenter, data, protocol=Protocol(tile=tile))
    assert asked == [window]
    assert measured.protocol.tile == tile
    assert ("in windows" in measured.protocol.describe()) == (tile != "whole")
    assert Protocol().differences(measured.protocol) == ({} if tile == "whole" else {"tile": ("whole", tile)})


def test_a_tile_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="whole, auto or a number of pixels"):
        Protocol(tile="small")


def test_json_and_card(tmp_path: Path) -> None:
    data = make_data(tmp_path, ["a", "b", "c", "d"], LABELS)
    measured = evaluate(make_segmenter(LABELS), data, measures=("boundary", "calibration", "sizes"))
    values = json.loads(json.dumps(measured.to_dict()))
    assert {"mean_iou", "pixel_accuracy", "mean_class_accuracy", "iou", "protocol", "boundary"} <= set(values)
    assert list(values["iou"]) == LABELS.names
    low, high = values["intervals"]["mean_iou"]
    assert low <= values["mean_iou"] <= high
    assert set(MEANS) <= set(values["intervals"])
    # The kept counts of the pictures add up to the confusion matrix.
    assert sum(sum(entry["hit"]) for entry in values["images"]) == np.trace(measured.confusion)
    card = measured.for_card()
    json.dumps(card)
    assert card["protocol"] == measured.protocol.describe()
    assert 0 <= card["calibration"]["ece"] <= 1
    assert 0 < card["boundary"]["mean_boundary_iou"] <= 1
    assert "confusion" not in card
    assert "images" not in card


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    few = make_data(tmp_path / "few", [f"p{index}" for index in range(3)], LABELS, (96, 128))
    many = replace(few, splits={"val": few.split("val") * 20})  # the same pictures: the same peak for each
    segmenter = make_segmenter(LABELS)
    evaluate(segmenter, few, measures=("boundary", "calibration"))  # warm
    peaks = []
    for data in (few, many):
        tracemalloc.start()
        evaluate(segmenter, data, measures=("boundary", "calibration"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Less than a quarter of one mask for each picture more (about 1 kB of counts, and what waits to be collected).
    assert peaks[1] - peaks[0] < 57 * 96 * 128 / 4


def test_misfits_are_refused(tmp_path: Path) -> None:
    data = make_data(tmp_path, ["a"], LABELS)
    with pytest.raises(InputError, match="model's classes"):
        evaluate(make_segmenter(label_map(3)), data)
    with pytest.raises(InputError, match="expected measures of boundary"):
        evaluate(make_segmenter(LABELS), data, measures=("speed",))
    with pytest.raises(InputError, match="classes of the protocol cityscapes"):
        evaluate(make_segmenter(LABELS), data, protocol="cityscapes")
    with pytest.raises(InputError, match="no pictures in split 'test'"):
        evaluate(make_segmenter(LABELS), data, "test")


def test_model_card_carries_interval_boundary_and_calibration(tmp_path: Path) -> None:
    from refineseg.model.folders.model_folder import ModelCard, load_model_folder, save_model_folder
    from refineseg.model.folders.readme import model_card
    from refineseg.model.presets import create_model

    data = make_data(tmp_path, ["a", "b", "c", "d"], LABELS)
    score = evaluate(make_segmenter(LABELS), data, measures=("boundary", "calibration")).for_card()
    model, info = create_model("refinenet-lw-mbv2", 4), ModelCard("m", LABELS, (score,))
    card = model_card(model, info)
    low, high = score["intervals"]["mean_iou"]
    assert f"interval of the mean IoU: {low:.4f} to {high:.4f}" in card
    assert f"boundary IoU {score['boundary']['mean_boundary_iou']:.4f}" in card
    assert f"expected calibration error {score['calibration']['ece']:.4f}" in card
    save_model_folder(tmp_path / "m", model, info)
    stored = load_model_folder(tmp_path / "m")[1].scores[0]
    assert Protocol.from_dict(stored["protocol_settings"]) == Protocol()
