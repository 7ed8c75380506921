"""Why two scores differ: protocol, classes, pictures; and whether the difference is significant.

A winner is named only if the paired bootstrap interval of the difference excludes 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refineseg.errors import InputError, RefinesegError
from refineseg.evaluation.bootstrap import Interval, difference_interval
from refineseg.evaluation.metrics import MeanOver, Sums, class_mean, divide, means
from refineseg.evaluation.per_picture import PictureScores
from refineseg.evaluation.protocol import Protocol
from refineseg.system.files import read_file
from refineseg.system.text import counted

SHOWN = 5


@dataclass(frozen=True)
class Scored:
    """Content of an evaluation's JSON file that ``compare`` needs."""

    name: str
    mean_iou: float
    protocol: Protocol
    data: str
    split: str
    class_names: list[str]
    pictures: PictureScores


@dataclass(frozen=True)
class Comparison:
    """Differences between two evaluations, B minus A.

    The difference of the scores is rule + others + rest.
    """

    # A and B
    first: Scored
    second: Scored
    protocol: dict[str, tuple[Any, Any]]  # settings that differ, (A's, B's)
    rule: float  # part due to another rule of the mean: B by its own rule minus B by A's
    others: float  # part due to pictures that only one of them has
    rest: float  # difference on the shared pictures by A's rule
    # largest contributions to ``rest`` by class, (name, A's IoU, B's IoU, share)
    classes: list[tuple[str, float, float, float]]
    pictures: list[tuple[str, float]]  # largest changes of A's score if one picture's prediction were B's
    interval: Interval  # 95 % interval of ``rest``, paired bootstrap over the pictures; NaN for fewer than two
    shared: int  # number of shared pictures

    @property
    def winner(self) -> str | None:
        """``A`` or ``B`` if the interval excludes 0, else None."""
        low, high = self.interval
        return "B" if low > 0 else "A" if high < 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "difference": self.second.mean_iou - self.first.mean_iou,
            "protocol": {name: list(pair) for name, pair in self.protocol.items()},
            "rule": self.rule,
            "others": self.others,
            "rest": self.rest,
            "classes": [dict(zip(("name", "a", "b", "share"), row, strict=True)) for row in self.classes],
            "pictures": [{"name": name, "effect": effect} for name, effect in self.pictures],
            "interval": None if np.isnan(self.interval[0]) else list(self.interval),
            "shared": self.shared,
            "winner": self.winner,
        }

    def lines(self) -> list[str]:
        """The comparison in words."""
        first, second = self.first, self.second
        lines = [
            f"A {first.name}: mean IoU {first.mean_iou:.4f} on {first.data} {first.split} "
            f"({first.protocol.describe()})",
            f"B {second.name}: mean IoU {second.mean_iou:.4f} on {second.data} {second.split} "
            f"({second.protocol.describe()})",
            f"B - A: {second.mean_iou - first.mean_iou:+.4f}",
        ]
        if not self.protocol:
            lines.append("1. protocol: the same")
        for name, (mine, theirs) in self.protocol.items():
            effect = f": accounts for {self.rule:+.4f} of the difference" if name == "mean_over" else ""
            lines.append(f"1. protocol: {name} is {mine} in A, {theirs} in B{effect}")
        only_first, only_second = len(first.pictures.names) - self.shared, len(second.pictures.names) - self.shared
        if only_first or only_second:
            lines.append(
                f"   pictures: {self.shared} in both, {only_first} only in A, {only_second} only in B: "
                f"these account for {self.others:+.4f}; the rest is about the {self.shared}"
            )
        for class_name, old, new, share in self.classes:
            lines.append(f"2. class {class_name}: IoU {old:.4f} to {new:.4f}, {share:+.4f} of the mean")
        for picture, change in self.pictures:
            lines.append(f"3. picture {picture}: {change:+.4f}")
        return [*lines, self.verdict()]

    def verdict(self) -> str:
        """The last line: which one is better, if any."""
        low, high = self.interval
        if np.isnan(low):
            return "no winner: fewer than two pictures that both were scored on"
        span = f"{self.rest:+.4f}, 95 % interval {low:+.4f} .. {high:+.4f} over {counted(self.shared, 'picture')}"
        if self.winner is None:
            return f"no winner: the difference {span} is not significant"
        caution = ", but the protocols differ" if self.protocol else ""
        return f"{self.winner} is better: difference {span}{caution}"


def read_scored(path: str | Path) -> Scored:
    """A file of ``evaluate --json``. InputError for other files."""
    path = Path(path)
    try:
        values = json.loads(read_file(path))
        names = [str(name) for name in values["class_names"]]
        if not values["images"]:
            raise InputError("expected at least one picture under images, got none")
        return Scored(
            name=path.stem,
            mean_iou=float("nan") if values["mean_iou"] is None else float(values["mean_iou"]),
            protocol=Protocol.from_dict(values["protocol"]),
            data=str(values["data"]),
            split=str(values["split"]),
            class_names=names,
            pictures=PictureScores.from_list(values["images"], len(names)),
        )
    except FileNotFoundError as error:
        raise InputError(f"File not found: {path}") from error
    except RefinesegError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise InputError(
            f"expected a file of 'refineseg evaluate --json', cannot read {path}: {type(error).__name__} {error}"
        ) from error


def compare(first: Scored, second: Scored) -> Comparison:
    """Decompose the difference of two scores. InputError for different classes, data sets, splits or labels."""
    for name in ("class_names", "data", "split"):
        mine, theirs = getattr(first, name), getattr(second, name)
        if mine != theirs:
            raise InputError(f"expected two scores with the same {name}, got {mine} and {theirs}")
    rule = first.protocol.mean_over
    both = [name for name in first.pictures.names if name in set(second.pictures.names)]
    mine, theirs = first.pictures.chosen(both), second.pictures.chosen(both)
    truths_differ = (mine.sums.true != theirs.sums.true).any(1)
    if truths_differ.any():
        odd = both[int(truths_differ.argmax())]
        raise InputError(
            f"expected the same ground truth in both, got other labels for "
            f"{counted(int(truths_differ.sum()), 'picture')} such as {odd}: evaluate both on the same masks"
        )
    before, after = mine.mean_iou(rule), theirs.mean_iou(rule)
    whole = second.pictures.mean_iou(rule) - first.pictures.mean_iou(rule)
    return Comparison(
        first=first,
        second=second,
        protocol=first.protocol.differences(second.protocol),
        rule=second.pictures.mean_iou(second.protocol.mean_over) - second.pictures.mean_iou(rule),
        others=whole - (after - before),
        rest=after - before,
        classes=class_shares(first.class_names, mine.total, theirs.total, rule),
        pictures=picture_effects(mine, theirs, rule),
        interval=difference_interval(mine.sums, theirs.sums, rule),
        shared=len(both),
    )


def class_shares(
    names: list[str], before: Sums, after: Sums, rule: MeanOver
) -> list[tuple[str, float, float, float]]:
    """The largest contributions of classes to the difference; those of all classes add up to it."""
    iou = [divide(sums.hit, sums.union) for sums in (before, after)]
    single = np.eye(len(names))
    # Contribution of a class to a mean: the mean with every other class's IoU set to 0.
    old, new = (np.nan_to_num(values) * single for values in iou)
    share = class_mean(new, after, rule) - class_mean(old, before, rule)
    order = np.argsort(-np.abs(share), kind="stable")[:SHOWN]
    return [(names[i], float(iou[0][i]), float(iou[1][i]), float(share[i])) for i in order if share[i]]


def picture_effects(mine: PictureScores, theirs: PictureScores, rule: MeanOver) -> list[tuple[str, float]]:
    """The pictures that change A's score most if B's prediction replaces A's."""
    parts = zip(mine.total, mine.sums, theirs.sums, strict=True)
    swapped = Sums(*(whole - before + after for whole, before, after in parts))
    effect = means(swapped, rule)["mean_iou"] - mine.mean_iou(rule)
    order = np.argsort(-np.abs(effect), kind="stable")[:SHOWN]
    return [(mine.names[i], float(effect[i])) for i in order if effect[i]]
