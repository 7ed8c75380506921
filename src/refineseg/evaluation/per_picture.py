"""Pixels per class of each picture, for bootstrap and comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from refineseg.evaluation.metrics import MeanOver, Sums, means

PictureEntry = dict[
    str, Any
]  # ``name``, ``classes`` in truth or prediction, and ``hit``, ``true``, ``predicted`` of each


def picture_entry(name: str, sums: Sums) -> PictureEntry:
    """The entry of a picture in JSON, from its sums of shape K."""
    classes = np.flatnonzero(sums.union)
    counts = {part: values[classes].astype(int).tolist() for part, values in sums._asdict().items()}
    return {"name": name, "classes": classes.tolist(), **counts}


@dataclass(frozen=True)
class PictureScores:
    """Stems of N pictures, and their sums NxK."""

    names: tuple[str, ...]
    sums: Sums

    @property
    def total(self) -> Sums:
        """Sums over the pictures, of shape K."""
        return Sums(*(part.sum(0) for part in self.sums))

    def mean_iou(self, mean_over: MeanOver) -> float:
        """Mean IoU of these pictures by the given rule."""
        return float(means(self.total, mean_over)["mean_iou"])

    def chosen(self, names: Iterable[str]) -> PictureScores:
        """Some pictures, in the order given."""
        place = {name: index for index, name in enumerate(self.names)}
        order = [place[name] for name in names]
        return PictureScores(tuple(self.names[i] for i in order), Sums(*(part[order] for part in self.sums)))

    def to_list(self) -> list[PictureEntry]:
        """One entry per picture."""
        pictures = zip(self.names, *self.sums, strict=True)
        return [picture_entry(name, Sums(*parts)) for name, *parts in pictures]

    @classmethod
    def from_list(cls, entries: Sequence[PictureEntry], num_classes: int) -> Self:
        """The inverse of ``to_list``. KeyError, TypeError, ValueError or IndexError for invalid entries."""
        dense = np.zeros((3, len(entries), num_classes))
        for index, entry in enumerate(entries):
            classes = np.asarray(entry["classes"], np.int64)
            counts = np.asarray([entry[part] for part in Sums._fields], np.int64)
            dense[:, index, classes] = counts.reshape(3, len(classes))
        return cls(tuple(str(entry["name"]) for entry in entries), Sums(*dense))
