"""The few val pictures that every validation shows again, so that a person sees what is being learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import display_rgb
from refineseg.data.dataset import SegmentationData
from refineseg.evaluation.evaluate import Evaluation
from refineseg.evaluation.report.overlays import panels
from refineseg.labels import UInt8
from refineseg.system.processes import own_share

SHOWN = 8


def chosen_places(count: int) -> list[int]:
    """Indices of up to eight pictures, evenly spaced over a split of ``count``."""
    return sorted(set(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int).tolist()))


@dataclass
class Examples:
    """A measure of an evaluation on ``val`` that keeps a few pictures with truth and prediction.

    Attributes:
        data: the data set.
        views: by picture: its place in the split, and HxWx3 views by name (see ``evaluation.overlays.panels``).
    """

    data: SegmentationData
    views: dict[int, dict[str, UInt8]] = field(default_factory=dict)
    _next: int = -1

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.float16]) -> None:  # noqa: ARG002
        """Keep the picture if it is one of those that are shown."""
        samples = self.data.split("val")
        if self._next < 0:
            self._next = own_share(len(samples)).start
        if self._next in chosen_places(len(samples)):
            picture = display_rgb(self.data.read_picture(samples[self._next].image), self.data.channels)
            self.views[self._next] = panels(picture, truth, prediction, self.data.label_map)
        self._next += 1

    def merge(self, other: Examples) -> None:
        """Take the pictures of another process."""
        self.views |= other.views

    def to_dict(self, names: list[str]) -> dict[str, Any]:  # noqa: ARG002
        """Nothing: pictures are no figures."""
        return {}

    def named(self) -> dict[str, dict[str, UInt8]]:
        """The views by the picture's stem, in the order of the split."""
        samples = self.data.split("val")
        return {samples[place].stem: views for place, views in sorted(self.views.items())}


def examples_of(evaluation: Evaluation | None) -> dict[str, dict[str, UInt8]]:
    """The views of an evaluation's examples by stem; empty without."""
    found = evaluation.measures.get(Examples.__name__) if evaluation else None
    return found.named() if isinstance(found, Examples) else {}
