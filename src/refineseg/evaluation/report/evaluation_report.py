"""The report of an evaluation: a folder with a self-contained HTML page, and all figures as JSON.

Most of it is counted while ``evaluate`` runs (``MEASURES``); the few pictures shown are read again afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from refineseg.channels import display_rgb
from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.evaluate import Evaluation
from refineseg.evaluation.measures.boundary import BoundaryCounts
from refineseg.evaluation.measures.calibration import Reliability
from refineseg.evaluation.measures.distance import DistanceCounts
from refineseg.evaluation.measures.suspects import Suspect, Suspects
from refineseg.evaluation.metrics import Floats, means
from refineseg.evaluation.report.overlays import panels, suspect_views
from refineseg.inference.predictor import Segmenter
from refineseg.labels import LabelMap, UInt8

MEASURES = ("boundary", "calibration", "distance", "suspects")
WORST, MEDIAN, SUSPECTS = 6, 3, 24  # pictures, pictures, cut-outs on the page

Group = Literal["worst", "median"]


@dataclass(frozen=True)
class ShownPicture:
    """A picture on the page."""

    index: int  # index in the split
    group: Group  # why it is shown
    views: dict[str, UInt8]  # HxWx3 by title


@dataclass(frozen=True)
class EvaluationReport:
    """Content of the page."""

    evaluation: Evaluation
    model: str  # name of the model
    label_map: LabelMap  # names and colours
    calibrated: bool  # whether the model has temperatures
    # measures of the evaluation
    boundary: BoundaryCounts
    reliability: Reliability
    distance: DistanceCounts
    found: int  # number of suspects
    # the worst pictures first, then the median ones
    pictures: tuple[ShownPicture, ...]
    # the strongest suspects, strongest first, with crops HxWx3 by title
    suspects: tuple[tuple[Suspect, dict[str, UInt8]], ...]


def with_report(measures: Sequence[str]) -> list[str]:
    """The given measures and those of the page, each once."""
    return list(dict.fromkeys([*measures, *MEASURES]))


def make_report(
    evaluation: Evaluation, segmenter: Segmenter, data: SegmentationData, model: str
) -> EvaluationReport:
    """Select and prepare the content, from an evaluation with the measures of ``MEASURES``."""
    measures = evaluation.measures
    ranked = cast(Suspects, measures["suspects"]).ranked
    return EvaluationReport(
        evaluation=evaluation,
        model=model,
        label_map=data.label_map,
        calibrated=bool(segmenter.card.calibration.get("temperatures")),
        boundary=cast(BoundaryCounts, measures["boundary"]),
        reliability=cast(Reliability, measures["calibration"]),
        distance=cast(DistanceCounts, measures["distance"]),
        found=len(ranked),
        pictures=tuple(_pictures(evaluation, segmenter, data)),
        suspects=tuple(_suspects(ranked[:SUSPECTS], data, evaluation.split)),
    )


def chosen_pictures(scores: Floats, worst: int = WORST, median: int = MEDIAN) -> dict[Group, list[int]]:
    """Indices of the worst pictures, worst first, and of others nearest to the median."""
    order = np.argsort(scores, kind="stable")[: np.count_nonzero(~np.isnan(scores))].tolist()
    lowest, rest = order[:worst], order[worst:]
    middle = len(order) // 2
    nearest = sorted(rest, key=lambda index: abs(order.index(index) - middle))[:median]
    return {"worst": lowest, "median": sorted(nearest, key=order.index)}


def _pictures(evaluation: Evaluation, segmenter: Segmenter, data: SegmentationData) -> Iterator[ShownPicture]:
    samples = data.split(evaluation.split)
    for group, indices in chosen_pictures(means(evaluation.by_picture.sums)["mean_iou"]).items():
        for index in indices:
            image, truth = data.read(samples[index])
            result = evaluation.protocol.predict(segmenter, image)
            yield ShownPicture(index, group, panels(result.image, truth, result.labels, data.label_map))


def _suspects(
    ranked: list[Suspect], data: SegmentationData, split: str
) -> Iterator[tuple[Suspect, dict[str, UInt8]]]:
    """The suspects with their views; each picture is read once."""
    views: dict[int, dict[str, UInt8]] = {}
    for picture in {item.picture for item in ranked}:
        image, truth = data.read(data.split(split)[picture])
        image = display_rgb(image, data.channels)
        for rank, item in enumerate(ranked):
            if item.picture == picture:
                views[rank] = suspect_views(image, truth, item, data.label_map)
    for rank, item in enumerate(ranked):
        yield item, views[rank]
