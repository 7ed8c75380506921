"""Which calibrator holds on pictures that it has not seen: expected calibration error by blocks of a split.

python benchmarks/calibration_blocks.py --model camvid --data camvid:DIR [--split val] [--json FILE]

The split is cut into K blocks of pictures that follow each other, so that neighbouring frames of a drive are on
one side. Each block is judged by what was fitted on the others. ``pooled`` is the error over all pictures so
judged, ``block`` the mean of the blocks' own errors, which also counts that a block is harder than the others.
No calibrator here changes a label. K = 0 takes every second picture, which is kind to all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from refineseg.data import open_data
from refineseg.evaluation.measures.calibration import (
    COLDEST,
    HOTTEST,
    calibration_error,
    confidence_histogram,
    fit_temperatures,
    sampled_scores,
    to_logs,
)
from refineseg.loading import load
from sklearn.isotonic import IsotonicRegression

Floats = NDArray[np.float64]
Truth = NDArray[np.int64]
Confidence = Callable[[Floats], Floats]  # log probabilities NxK to the confidence N of their largest
EDGES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # of confidence, for a temperature by bin
FOLDS = (2, 4, 5, 10, 0)


def at(logs: Floats, temperatures: Floats) -> Floats:
    """The confidence of pixels at a temperature each."""
    below_top = logs - logs.max(1, keepdims=True)
    return np.asarray(1 / np.exp(below_top / temperatures[:, None]).sum(1))


def by_group(logs: Floats, truth: Truth, group: NDArray[np.int64], count: int, prior: float = 0.0) -> Floats:
    """For each group the temperature at which it is as sure as it is right, by bisection.

    ``prior`` pixels are added to each group that are as sure as right at the temperature of all.
    """
    pixels, hit = np.bincount(group, minlength=count), np.bincount(group, logs.argmax(1) == truth, count)
    if prior:
        common = by_group(logs, truth, np.zeros(len(logs), np.int64), 1)
        sure = np.bincount(group, at(logs, np.full(len(logs), common[0])), count) / np.maximum(pixels, 1)
        pixels, hit = pixels + prior, hit + prior * sure
    target = hit / np.maximum(pixels, 1e-9)
    low, high = np.full(count, COLDEST), np.full(count, HOTTEST)
    for _ in range(30):
        middle = np.sqrt(low * high)
        sure = np.bincount(group, at(logs, middle[group]), count) / np.maximum(
            np.bincount(group, minlength=count), 1
        )
        low, high = np.where(sure > target, middle, low), np.where(sure > target, high, middle)
    return np.asarray(np.sqrt(low * high))


def bins(logs: Floats) -> NDArray[np.int64]:
    """The bin of each pixel's confidence."""
    return np.digitize(np.exp(logs.max(1)), EDGES)


def none(_logs: Floats, _truth: Truth) -> Confidence:
    """As the network says."""
    return lambda logs: np.asarray(np.exp(logs.max(1)))


def one(logs: Floats, truth: Truth) -> Confidence:
    """One temperature of least loss: --calibrate global."""
    found = fit_temperatures(logs, truth)
    return lambda logs: at(logs, found[logs.argmax(1)])


def by_class(logs: Floats, truth: Truth) -> Confidence:
    """One by predicted class: --calibrate class."""
    found = fit_temperatures(logs, truth, per_class=True)
    return lambda logs: at(logs, found[logs.argmax(1)])


def by_class_shrunk(logs: Floats, truth: Truth) -> Confidence:
    """By predicted class, drawn to the one of all by 500 pixels."""
    found = by_group(logs, truth, logs.argmax(1), logs.shape[1], prior=500)
    return lambda logs: at(logs, found[logs.argmax(1)])


def by_confidence(logs: Floats, truth: Truth) -> Confidence:
    """One by bin of the confidence."""
    found = by_group(logs, truth, bins(logs), len(EDGES) + 1)
    return lambda logs: at(logs, found[bins(logs)])


def isotonic(logs: Floats, truth: Truth) -> Confidence:
    """A rising step function of the confidence."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(np.exp(logs.max(1)), logs.argmax(1) == truth)
    return lambda logs: np.asarray(fitted.predict(np.exp(logs.max(1))))


METHODS = (none, one, by_class, by_class_shrunk, by_confidence, isotonic)


def error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error in 15 bins."""
    return float(calibration_error(confidence_histogram(confidence, right)))


def judged(
    kept: list[tuple[Floats, Truth]], method: Callable[[Floats, Truth], Confidence], folds: int
) -> list[float]:
    """Pooled error, mean of the blocks' errors, then each block's."""
    places = np.arange(len(kept))
    blocks = np.array_split(places, folds) if folds else [places[0::2], places[1::2]]
    sure, right, own = [], [], []
    for block in blocks:
        others = np.setdiff1d(places, block)
        seen, unseen = (
            [np.concatenate([kept[i][part] for i in some]) for part in (0, 1)] for some in (others, block)
        )
        confidence = method(seen[0], seen[1])(unseen[0])
        hit = unseen[0].argmax(1) == unseen[1]
        own.append(error(confidence, hit))
        sure.append(confidence)
        right.append(hit)
    return [error(np.concatenate(sure), np.concatenate(right)), float(np.mean(own)), *own]


def main() -> None:
    """Print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    scores = sampled_scores(load(given.model, "cpu"), open_data(given.data), given.split)
    kept = [(to_logs(probabilities), truth.astype(np.int64)) for probabilities, truth in scores]
    print("blocks          " + "".join(f"{folds or 'every second':>16}" for folds in FOLDS))
    print("error           " + f"{'pooled  block':>16}" * len(FOLDS))
    figures: dict[str, dict[str, list[float]]] = {}
    for method in METHODS:
        figures[method.__name__] = {str(folds): judged(kept, method, folds) for folds in FOLDS}
        cells = "".join(f"{row[0]:>9.4f} {row[1]:.4f}" for row in figures[method.__name__].values())
        print(f"{method.__name__:<16}{cells}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
