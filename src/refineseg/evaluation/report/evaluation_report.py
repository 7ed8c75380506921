"""The report of an evaluation: a folder with a self-contained HTML page, and all figures as JSON.

Most of it is counted while ``evaluate`` runs (``MEASURES``); the few pictures shown are read again afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
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

    name: str  # stem of the file
    group: Group  # why it is shown
    mean_iou: float  # mean IoU of this picture, over the classes in its truth
    accuracy: float  # share of right pixels
    views: dict[str, UInt8]  # HxWx3 by title


@dataclass(frozen=True)
class ShownSuspect:
    """A suspect on the page: the region, the stem of its picture, crops HxWx3 by title."""

    suspect: Suspect
    name: str
    views: dict[str, UInt8]


@dataclass(frozen=True)
class EvaluationReport:
    """Content of the page."""

    evaluation: Evaluation  # with the measures of ``MEASURES``
    model: str  # name of the model
    label_map: LabelMap  # names and colours
    calibrated: bool  # whether the model has temperatures
    pictures: tuple[ShownPicture, ...]  # worst first, then the median ones
    suspects: tuple[ShownSuspect, ...]  # strongest first

    @property
    def boundary(self) -> BoundaryCounts:
        """The measure ``boundary``."""
        return cast(BoundaryCounts, self.evaluation.measures["boundary"])

    @property
    def reliability(self) -> Reliability:
        """The measure ``calibration``."""
        return cast(Reliability, self.evaluation.measures["calibration"])

    @property
    def distance(self) -> DistanceCounts:
        """The measure ``distance``."""
        return cast(DistanceCounts, self.evaluation.measures["distance"])


def with_report(measures: Sequence[str]) -> list[str]:
    """The given measures and those of the page, each once."""
    return list(dict.fromkeys([*measures, *MEASURES]))


def make_report(
    evaluation: Evaluation, segmenter: Segmenter, data: SegmentationData, model: str
) -> EvaluationReport:
    """Select and prepare the content."""
    return EvaluationReport(
        evaluation=evaluation,
        model=model,
        label_map=data.label_map,
        calibrated=bool(segmenter.card.calibration.get("temperatures")),
        pictures=tuple(_pictures(evaluation, segmenter, data)),
        suspects=tuple(_suspects(evaluation, data)),
    )


def picture_scores(evaluation: Evaluation) -> tuple[Floats, Floats]:
    """Mean IoU (over the classes in its truth) and pixel accuracy of each picture; NaN without labels."""
    values = means(evaluation.by_picture.sums, "truth")
    return values["mean_iou"], values["pixel_accuracy"]


def chosen_pictures(scores: Floats, worst: int = WORST, median: int = MEDIAN) -> dict[Group, list[int]]:
    """Indices of the worst pictures, worst first, and of others nearest to the median."""
    order = np.argsort(scores, kind="stable")[: np.count_nonzero(~np.isnan(scores))].tolist()
    lowest, rest = order[:worst], order[worst:]
    middle = len(order) // 2
    nearest = sorted(rest, key=lambda index: abs(order.index(index) - middle))[:median]
    return {"worst": lowest, "median": sorted(nearest, key=order.index)}


def _pictures(evaluation: Evaluation, segmenter: Segmenter, data: SegmentationData) -> list[ShownPicture]:
    samples, protocol = data.split(evaluation.split), evaluation.protocol
    mean_iou, accuracy = picture_scores(evaluation)
    shown = []
    for group, indices in chosen_pictures(mean_iou).items():
        for index in indices:
            image, truth = data.read(samples[index])
            result = protocol.predict(segmenter, image)
            views = panels(result.image, truth, result.labels, data.label_map)
            figures = float(mean_iou[index]), float(accuracy[index])
            shown.append(ShownPicture(samples[index].stem, group, *figures, views))
    return shown


def _suspects(evaluation: Evaluation, data: SegmentationData) -> list[ShownSuspect]:
    """The strongest suspects; each picture is read once."""
    samples = data.split(evaluation.split)
    ranked = cast(Suspects, evaluation.measures["suspects"]).ranked[:SUSPECTS]
    places = sorted(range(len(ranked)), key=lambda place: ranked[place].picture)
    shown: dict[int, ShownSuspect] = {}
    for picture, group in groupby(places, key=lambda place: ranked[place].picture):
        image, truth = data.read(samples[picture])
        for place in group:
            views = suspect_views(display_rgb(image, data.channels), truth, ranked[place], data.label_map)
            shown[place] = ShownSuspect(ranked[place], samples[picture].stem, views)
    return [shown[place] for place in range(len(ranked))]
