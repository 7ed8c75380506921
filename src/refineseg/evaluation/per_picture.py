"""Pixels per class of each picture, for bootstrap and comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from refineseg.evaluation.metrics import Counts, MeanOver, Sums, means

# name, classes present, and 3xC counts of them: hit, true, predicted
Row = tuple[str, Counts, Counts]


def picture_row(name: str, confusion: Counts) -> Row:
    """The Row of a picture."""
    sums = Sums.of(confusion)
    counts = np.stack([sums.hit, sums.true, sums.predicted]).astype(np.int64)
    classes = np.flatnonzero(sums.union)
    return name, classes, counts[:, classes]


@dataclass(frozen=True)
class PictureScores:
    """Stems of N pictures, and their sums NxK."""

    names: tuple[str, ...]
    sums: Sums

    @classmethod
    def of(cls, rows: Sequence[Row], num_classes: int) -> Self:
        """From rows of ``picture_row``."""
        dense = np.zeros((3, len(rows), num_classes))
        for index, (_name, classes, counts) in enumerate(rows):
            dense[:, index, classes] = counts
        return cls(tuple(row[0] for row in rows), Sums(*dense))

    @property
    def total(self) -> Sums:
        """Sums over the pictures, of shape K."""
        return Sums(self.sums.hit.sum(0), self.sums.true.sum(0), self.sums.predicted.sum(0))

    def mean_iou(self, mean_over: MeanOver) -> float:
        """Mean IoU of these pictures by the given rule."""
        return float(means(self.total, mean_over)["mean_iou"])

    def chosen(self, names: Iterable[str]) -> PictureScores:
        """Some pictures, in the order given."""
        place = {name: index for index, name in enumerate(self.names)}
        order = [place[name] for name in names]
        hit, true, predicted = (part[order] for part in (self.sums.hit, self.sums.true, self.sums.predicted))
        return PictureScores(tuple(self.names[index] for index in order), Sums(hit, true, predicted))

    def to_list(self) -> list[dict[str, Any]]:
        """One entry per picture, with its classes and their counts."""
        entries = []
        for index, name in enumerate(self.names):
            classes = np.flatnonzero(self.sums.union[index])
            entry: dict[str, Any] = {"name": name, "classes": classes.tolist()}
            for part in ("hit", "true", "predicted"):
                entry[part] = getattr(self.sums, part)[index, classes].astype(int).tolist()
            entries.append(entry)
        return entries

    @classmethod
    def from_list(cls, entries: Sequence[dict[str, Any]], num_classes: int) -> Self:
        """The inverse of ``to_list``. KeyError, TypeError, ValueError or IndexError for invalid entries."""
        rows: list[Row] = []
        for entry in entries:
            counts = np.asarray([entry["hit"], entry["true"], entry["predicted"]], np.int64)
            classes = np.asarray(entry["classes"], np.int64)
            rows.append((str(entry["name"]), classes, counts.reshape(3, len(classes))))
        return cls.of(rows, num_classes)
