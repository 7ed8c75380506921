"""The picture of docs/evaluation.md: what each number looks at, on drawn shapes.

python benchmarks/evaluation_figure.py [FILE.png]
"""

from __future__ import annotations

from pathlib import Path
import sys

import matplotlib as mpl
from matplotlib.axes import Axes
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")
import matplotlib.pyplot as plt
from refineseg.evaluation.bootstrap import interval, resample, resample_counts
from refineseg.evaluation.measures.boundary import BoundaryCounts, ContourPoints, OutlineDistances, near_outline
from refineseg.evaluation.measures.calibration import (
    Reliability,
    apply_temperatures,
    fit_temperatures,
    to_logs,
)
from refineseg.evaluation.metrics import Sums, confusion_matrix, means, scores
from refineseg.labels import IGNORE, UInt8

COLORS = np.array([[222, 214, 199], [63, 111, 153], [196, 98, 62], [94, 140, 97]], np.uint8)
DISTANCES = OutlineDistances(8, 4, 4)


def shapes() -> tuple[UInt8, UInt8]:
    """Truth and prediction: a disc, a box and a thin pole, each met in its own way; a corner of void."""
    y, x = np.mgrid[:120, :160]
    truth, prediction = np.zeros((120, 160), np.uint8), np.zeros((120, 160), np.uint8)
    truth[(y - 60) ** 2 + (x - 45) ** 2 < 30**2] = 1
    prediction[(y - 62) ** 2 + (x - 47) ** 2 < (30 + 3 * np.sin(np.arctan2(y - 62, x - 47) * 9)) ** 2] = 1
    truth[30:95, 95:125] = 2
    prediction[33:98, 98:125] = 2
    truth[10:110, 140:144] = 3
    prediction[10:60, 141:144] = 3
    truth[:22, :40] = IGNORE
    return truth, prediction


def show(axes: Axes, labels: UInt8, title: str, chosen: NDArray[np.bool_] | None = None) -> None:
    """A label map in colours, faded where it is not chosen; void is hatched."""
    colors = np.zeros((*labels.shape, 3), np.uint8)
    known = labels != IGNORE
    colors[known] = COLORS[labels[known]]
    if chosen is not None:
        colors = np.where(chosen[..., None], colors, (255 - (255 - colors.astype(float)) * 0.18)).astype(np.uint8)
    stripes = (np.add.outer(np.arange(labels.shape[0]), np.arange(labels.shape[1])) // 3) % 2
    colors[~known] = np.where(stripes[~known][:, None], 205, 235)
    axes.imshow(colors, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def contours(axes: Axes, truth: UInt8, prediction: UInt8, score: float) -> None:
    """Outline pixels that are within the tolerance of one of the other, and those that are not."""
    mine, theirs = ContourPoints.of(prediction), ContourPoints.of(truth)
    show(axes, truth, f"F-score {score:.2f}: outlines within 4 px", np.zeros(truth.shape, np.bool_))
    axes.scatter(theirs.columns, theirs.rows, s=1, c="0.55", linewidths=0)
    met = mine.matched(theirs, DISTANCES.contour)
    for hit, color in ((met, "#2f7d4f"), (~met, "#c0392b")):
        axes.scatter(mine.columns[hit], mine.rows[hit], s=1.6, c=color, linewidths=0)


def over_confident(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities that claim too much, and the truth."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 1.5, (40_000, 4))
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (honest.cumsum(1) > draw.random((40_000, 1))).argmax(1)
    sharp = np.exp(2.2 * logits)
    return sharp / sharp.sum(1, keepdims=True), truth


def measured(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> Reliability:
    """The histograms of pixels."""
    reliability = Reliability.zeros(probabilities.shape[1])
    columns = probabilities.T[:, None]
    reliability.add(truth[None].astype(np.uint8), columns.argmax(0).astype(np.uint8), columns)
    return reliability


def calibration(curve: Axes, risk: Axes) -> None:
    """Reliability before and after a temperature, and risk against coverage."""
    temperatures = fit_temperatures(to_logs(over_confident(0)[0]), over_confident(0)[1])
    held_out, truth = over_confident(1)
    before, after = measured(held_out, truth), measured(apply_temperatures(held_out, temperatures), truth)
    curve.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for reliability, name, color in ((before, "as it is", "#c0392b"), (after, "calibrated", "#2f7d4f")):
        confidence, accuracy, _ = reliability.curve()
        curve.plot(
            confidence, accuracy, "o-", markersize=3, color=color, label=f"{name}: ECE {reliability.ece:.3f}"
        )
    curve.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    curve.set_title(f"calibration, temperature {temperatures[0]:.2f}", fontsize=9)
    curve.legend(fontsize=7, frameon=False)
    coverage, error = before.risk_coverage()
    risk.plot(coverage, error, color="#3f6f99")
    risk.fill_between(coverage, error, color="#3f6f99", alpha=0.15)
    risk.set(xlabel="coverage", ylabel="error", xlim=(0, 1), ylim=(0, None))
    risk.set_title(f"risk and coverage, AURC {before.aurc:.3f}", fontsize=9)


def bootstrap(axes: Axes) -> None:
    """Resampled scores of 40 drawn pictures and their interval."""
    draw = np.random.default_rng(5)
    true = draw.integers(100, 900, (40, 4)).astype(float)
    hit = np.floor(true * np.clip(0.8 + draw.normal(0, 0.12, (40, 1)), 0, 1))
    sums = Sums(hit, true, hit + np.roll(true - hit, 1, 1))
    values = means(resample(sums, resample_counts(40)))["mean_iou"]
    low, high = interval(values)
    axes.hist(values, 30, color="#3f6f99", alpha=0.6)
    axes.axvspan(low, high, color="#2f7d4f", alpha=0.15)
    axes.set(xlabel="mean IoU of a resample", yticks=[])
    axes.set_title(f"95 % interval {low:.3f} .. {high:.3f}", fontsize=9)


def main() -> None:
    """Draw and write the picture."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs/figures/evaluation.png"
    truth, prediction = shapes()
    counts = BoundaryCounts.zeros(4, DISTANCES)
    counts.add(truth, prediction)
    figures = counts.to_dict(["a", "b", "c", "d"])
    seen = np.where(truth == IGNORE, np.uint8(IGNORE), prediction)
    figure, axes = plt.subplots(2, 4, figsize=(12.5, 5.4), layout="constrained")
    show(axes[0, 0], truth, "truth (void striped)")
    show(
        axes[0, 1],
        seen,
        f"prediction, mean IoU {scores(confusion_matrix(truth, prediction, 4)).mean_iou:.2f}",
    )
    region = near_outline(truth, DISTANCES.region) | near_outline(seen, DISTANCES.region)
    show(axes[0, 2], seen, f"boundary IoU {figures['mean_boundary_iou']:.2f}: within 8 px", region)
    contours(axes[0, 3], truth, prediction, figures["mean_f_score"])
    band = near_outline(truth, DISTANCES.trimap, frame=False)
    show(axes[1, 0], seen, f"trimap IoU {figures['mean_trimap_iou']:.2f}: band of the truth", band)
    calibration(axes[1, 1], axes[1, 2])
    bootstrap(axes[1, 3])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
