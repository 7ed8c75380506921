"""Calibration: by hand, against loops, and that temperatures mend over-confidence without touching a label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from refineseg.errors import WeightsError
from refineseg.evaluation.evaluate import evaluate
from refineseg.evaluation.measures.calibration import (
    BINS,
    COLDEST,
    HOTTEST,
    Reliability,
    apply_temperatures,
    calibrate,
    expected_error,
    fit_temperatures,
    held_out_errors,
    to_logs,
)
from refineseg.inference.predictor import Segmenter
from refineseg.labels import IGNORE
from tests.evaluation.pictures import label_map, make_data, make_segmenter

Pixels = tuple[NDArray[np.float64], NDArray[np.int64]]


def over_confident(seed: int, count: int, by_class: bool = False) -> Pixels:
    """Pixels whose truth follows softmax(z) while softmax(2.5 z), or with a factor by class, is said."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1.5, (count, 5))
    honest = softmax(logits)
    truth = (honest.cumsum(1) > draw.random((count, 1))).argmax(1)
    factor = np.array([1.0, 1.5, 2.5, 3.5, 5.0])[logits.argmax(1)] if by_class else np.full(count, 2.5)
    return softmax(logits * factor[:, None]), truth


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(weight / weight.sum(1, keepdims=True))


@pytest.mark.parametrize("by_class", [False, True])
def test_error_is_cut_by_half_on_held_out_pixels_with_the_same_labels(by_class: bool) -> None:
    probabilities, truth = over_confident(0, 40_000, by_class)
    temperatures = fit_temperatures(to_logs(probabilities), truth, per_class=by_class)
    held_out, held_truth = over_confident(1, 40_000, by_class)
    after = apply_temperatures(held_out, temperatures)
    assert (after.argmax(1) == held_out.argmax(1)).all()
    np.testing.assert_allclose(after.sum(1), 1)
    before, mended = expected_error(held_out, held_truth), expected_error(after, held_truth)
    assert before > 0.05
    assert mended < before / 2
    expected = [1.0, 1.5, 2.5, 3.5, 5.0] if by_class else [2.5] * 5
    np.testing.assert_allclose(temperatures, expected, rtol=0.1)


def test_newton_finds_the_least_loss() -> None:
    probabilities, truth = over_confident(2, 3000)
    logs = to_logs(probabilities)

    def loss(temperature: float) -> float:
        return float(-np.log(softmax(logs / temperature)[np.arange(len(truth)), truth]).mean())

    best = float(fit_temperatures(logs, truth)[0])
    grid = np.linspace(1.5, 4, 251)
    assert best == pytest.approx(grid[np.argmin([loss(value) for value in grid])], abs=0.02)


def test_class_with_few_pixels_takes_the_common_temperature() -> None:
    probabilities, truth = over_confident(3, 4000, by_class=True)
    predicted = probabilities.argmax(1)
    kept = (predicted != 4) | (np.cumsum(predicted == 4) <= 20)
    logs, truth = to_logs(probabilities[kept]), truth[kept]
    assert fit_temperatures(logs, truth, per_class=True)[4] == fit_temperatures(logs, truth)[4]


def test_histograms_by_hand() -> None:
    # Confidence 0.9 and right half the time, then 0.6 and always right.
    truth = np.array([[0, 1, 0, 0, IGNORE]], np.uint8)
    prediction = np.zeros((1, 5), np.uint8)
    first = np.array([[0.9, 0.9, 0.6, 0.6, 0.9]])
    reliability = Reliability.zeros(2)
    reliability.add(truth, prediction, np.stack([first, 1 - first]))
    assert reliability.ece == pytest.approx(0.5 * abs(0.5 - 0.9) + 0.5 * abs(1 - 0.6))
    # Class 0 has the same bins; class 1 the mirrored ones: 0.1 with half, 0.4 with none.
    assert reliability.class_ece.tolist() == pytest.approx([0.4, 0.4])
    coverage, risk = reliability.risk_coverage()
    assert coverage.tolist() == [0.5, 1.0]
    assert risk.tolist() == [0.5, 0.25]
    assert reliability.aurc == pytest.approx(0.5 * 0.5 + 0.5 * 0.25)


def test_streaming_equals_all_at_once_and_a_loop() -> None:
    probabilities, truth = over_confident(4, 6000)
    whole, parts = Reliability.zeros(5), Reliability.zeros(5)
    maps = probabilities.T.reshape(5, 60, 100), truth.reshape(60, 100).astype(np.uint8)
    labels = maps[0].argmax(0).astype(np.uint8)
    whole.add(maps[1], labels, maps[0])
    for rows in (np.s_[:17], np.s_[17:]):
        parts.add(maps[1][rows], labels[rows], maps[0][:, rows])
    np.testing.assert_allclose(whole.top, parts.top)
    assert whole.aurc == parts.aurc
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    error = 0.0
    for index in range(BINS):
        inside = (confidence >= index / BINS) & (confidence < (index + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert whole.ece == pytest.approx(error)
    assert expected_error(probabilities, truth) == pytest.approx(error)


def test_calibrated_model_keeps_its_labels_and_is_stored(tmp_path: Path) -> None:
    labels = label_map(4)
    data = make_data(tmp_path, [f"p{index}" for index in range(8)], labels, noise=120)
    raw = make_segmenter(labels, sharpness=200.0)
    fitted = calibrate(raw, data, pixels=8000)
    assert fitted["temperatures"][0] > 1
    assert fitted["ece_after"] < fitted["ece_before"]
    calibrated = Segmenter.from_network(raw.model, replace(raw.card, calibration=fitted), "cpu")
    image = data.split("val")[0].image
    before, after = (one.predict(image, probabilities=True) for one in (raw, calibrated))
    assert (before.labels == after.labels).all()
    assert (calibrated.predict(image).labels == before.labels).all()
    assert before.probabilities is not None
    assert after.probabilities is not None
    assert after.probabilities.max(0).mean() < before.probabilities.max(0).mean()
    # Fitting a calibrated model again starts from its raw scores.
    again = calibrate(calibrated, data, pixels=8000)
    assert again["temperatures"] == pytest.approx(fitted["temperatures"])
    measured = [evaluate(one, data, measures=("calibration",)) for one in (raw, calibrated)]
    assert (measured[0].confusion == measured[1].confusion).all()


def test_bad_temperatures_are_refused() -> None:
    for values in ([1.0], [1.0, 0.0, 1.0, 1.0], [float("inf")] * 4):
        with pytest.raises(WeightsError, match="4 temperatures above 0"):
            make_segmenter(label_map(4), calibration={"temperatures": values})


def test_neighbouring_pictures_are_never_on_both_sides() -> None:
    """Of four pictures the first two are alike, and so are the last two; each pair is judged by the other's."""
    # Everywhere 0.9 is said; in the first two pictures it is right always, in the last two half the time.
    probabilities = np.tile([0.9, 0.1], (1000, 1))
    right, half = np.zeros(1000, np.uint8), np.arange(1000, dtype=np.uint8) % 2
    kept = [(probabilities, truth) for truth in (right, right, half, half)]
    before, after = held_out_errors(kept, per_class=True)
    assert before == pytest.approx(abs(0.75 - 0.9))
    # Each half is judged with the other's accuracy, as far as temperatures reach. A fit on every second picture
    # would have been as sure as both are right on average, 0.75, and so without any error.
    coldest, hottest = (0.9 ** (1 / t) / (0.9 ** (1 / t) + 0.1 ** (1 / t)) for t in (COLDEST, HOTTEST))
    assert after == pytest.approx((abs(1 - hottest) + abs(0.5 - coldest)) / 2, abs=1e-3)
