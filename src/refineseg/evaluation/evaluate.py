"""Evaluation of a model on a split: one confusion matrix, and the protocol."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from refineseg.data.dataset import SegmentationData
from refineseg.data.registry import open_data
from refineseg.errors import InputError
from refineseg.evaluation.bootstrap import Interval, intervals, intervals_to_dict
from refineseg.evaluation.measures import CARD, NEED_PROBABILITIES, Measure, make_measures
from refineseg.evaluation.metrics import Counts, Scores, Sums, confusion_matrix, scores
from refineseg.evaluation.per_picture import PictureEntry, PictureScores, picture_entry
from refineseg.evaluation.protocol import Protocol, find_protocol
from refineseg.inference.options import scales_of
from refineseg.inference.predictor import Segmenter
from refineseg.system.processes import gather, joined_world, own_share
from refineseg.system.progress import Progress

Counted = tuple[Counts, list[PictureEntry], "dict[str, Measure]"]  # confusion matrix, pictures, measures


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation."""

    scores: Scores  # figures of the confusion matrix
    confusion: Counts  # KxK, rows are ground truth
    protocol: Protocol  # settings of the evaluation
    class_names: list[str]  # class names by train id
    data: str  # name of the data set
    split: str  # name of the split
    pictures: int  # number of pictures
    seconds: float  # wall-clock time
    by_picture: PictureScores  # pixels per class of each picture
    measures: Mapping[str, Measure] = field(default_factory=dict)  # further measures by name, such as ``boundary``

    def intervals(self) -> dict[str, Interval]:
        """95 % bootstrap intervals of the means, over pictures."""
        return intervals(self.by_picture.sums, self.protocol.mean_over)

    def to_dict(self) -> dict[str, Any]:
        """Content of ``evaluate --json``, which ``compare`` reads."""
        return {
            **self.scores.to_dict(self.class_names),
            "intervals": intervals_to_dict(self.intervals()),
            "protocol": self.protocol.to_dict(),
            "data": self.data,
            "split": self.split,
            "pictures": self.pictures,
            "seconds": round(self.seconds, 3),
            **{name: measure.to_dict(self.class_names) for name, measure in self.measures.items()},
            "class_names": self.class_names,
            "confusion": self.confusion.tolist(),
            "images": self.by_picture.to_list(),
        }

    def for_card(self) -> dict[str, Any]:
        """Scores, intervals and protocol for the model card."""
        whole = self.to_dict()
        left_out = ("confusion", "images", "class_names", "accuracy", "precision", "seconds", *self.measures)
        kept = {key: value for key, value in whole.items() if key not in left_out}
        for name in self.measures:
            if name in CARD:
                kept[name] = {key: whole[name][key] for key in CARD[name]}
        return kept | {"protocol": self.protocol.describe(), "protocol_settings": self.protocol.to_dict()}


def evaluate(
    segmenter: Segmenter,
    data: SegmentationData | str,
    split: str = "val",
    *,
    protocol: str | Protocol = "single",
    scales: Sequence[float] | None = None,
    flip: bool | None = None,
    measures: Sequence[str | Measure] = (),
    progress: Progress | None = None,
) -> Evaluation:
    """Score a model on a split, picture by picture, with the predictor of ``predict``.

    Memory is constant: only counts per class are kept of a picture. With several processes (torchrun) each takes a
    block of the pictures, and all return exactly the score of one process.

    Args:
        segmenter: the model.
        data: the data set, or ``NAME:ROOT`` as on the command line, with the classes of the model.
        split: ``train``, ``val`` or ``test``.
        protocol: a name of ``PROTOCOLS``, or a Protocol.
        scales: replace those of the protocol, which is then called ``custom``.
        flip: replaces that of the protocol, in the same way.
        measures: ``boundary``, ``calibration``, ``sizes``, ``distance``, ``suspects``, or your own Measure, whose
            name is that of its class.
        progress: called with (done, total).

    Raises:
        InputError: other classes than the model's, an empty split, an unreadable pair, an unknown name.
        MissingExtraError: ``sizes`` or ``suspects`` without the extra ``data``.
    """
    if not isinstance(segmenter, Segmenter):
        raise InputError(f"expected a Segmenter, got {segmenter!r:.80}: use refineseg.load(...)")
    data = open_data(data) if isinstance(data, str) else data
    if segmenter.outputs != "classes":
        raise InputError(f"expected a model of classes to score, {segmenter.card.name} gives {segmenter.outputs}")
    data.check_classes(segmenter.class_names)
    data = data.with_channels(segmenter.card.channels)
    chosen = with_views(find_protocol(protocol), scales, flip)
    names = data.label_map.names
    categories = category_ids(chosen, names)
    samples = data.split(split)
    confusion = np.zeros((len(names), len(names)), np.int64)
    extra = make_measures(measures, len(names))
    entries: list[PictureEntry] = []
    start = time.perf_counter()
    share, world = own_share(len(samples)), joined_world()[1]
    for done, sample in enumerate(samples[share.start : share.stop], 1):
        image, truth = data.read(sample)
        result = chosen.predict(segmenter, image, probabilities=any(name in extra for name in NEED_PROBABILITIES))
        one = confusion_matrix(truth, result.labels, len(names))
        confusion += one
        entries.append(picture_entry(sample.stem, Sums.of(one)))
        probabilities = result.probabilities if result.probabilities is not None else np.empty(0, np.float16)
        for measure in extra.values():
            measure.add(truth, result.labels, probabilities)
        if progress is not None:
            progress(min(done * world, len(samples)), len(samples))
    confusion, entries, extra = merged_counts(gather((confusion, entries, extra)))
    return Evaluation(
        scores=scores(confusion, chosen.mean_over, categories),
        confusion=confusion,
        protocol=chosen,
        class_names=names,
        data=data.name,
        split=split,
        pictures=len(samples),
        seconds=time.perf_counter() - start,
        by_picture=PictureScores.from_list(entries, len(names)),
        measures=extra,
    )


def merged_counts(parts: list[Counted]) -> Counted:
    """The sum of the counts of all processes."""
    (confusion, entries, extra), *others = parts
    for other_confusion, other_entries, other_extra in others:
        confusion += other_confusion
        entries += other_entries
        for name, measure in extra.items():
            measure.merge(other_extra[name])
    return confusion, entries, extra


def with_views(protocol: Protocol, scales: Sequence[float] | None, flip: bool | None) -> Protocol:
    """The protocol with other views, called ``custom`` if they differ."""
    changed = replace(
        protocol,
        scales=protocol.scales if scales is None else scales_of(scales),
        flip=protocol.flip if flip is None else flip,
    )
    return protocol if changed == protocol else replace(changed, name="custom")


def category_ids(protocol: Protocol, names: list[str]) -> dict[str, list[int]]:
    """Train ids by category. InputError if the data lacks a class of the protocol."""
    lacking = [item for group in protocol.categories.values() for item in group if item not in names]
    if lacking:
        raise InputError(f"expected classes of the protocol {protocol.name} in the data, it lacks {lacking[:3]}")
    return {name: [names.index(item) for item in group] for name, group in protocol.categories.items()}
