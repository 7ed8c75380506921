"""A few val pictures that every validation shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.channels import display_rgb
from refineseg.data.dataset import SegmentationData, spread_places
from refineseg.evaluation.evaluate import Evaluation
from refineseg.evaluation.report.overlays import panels
from refineseg.labels import UInt8
from refineseg.system.processes import own_share

SHOWN = 8


@dataclass
class Examples:
    """A measure on ``val`` that keeps views of a few pictures (``report.overlays.panels``) by index and name."""

    data: SegmentationData
    views: dict[int, dict[str, UInt8]] = field(default_factory=dict)
    _next: int = -1

    def add(self, truth: UInt8, prediction: UInt8, probabilities: NDArray[np.float16]) -> None:  # noqa: ARG002
        """Keep the views of a picture if it is one of those shown."""
        samples = self.data.split("val")
        if self._next < 0:
            self._next = own_share(len(samples)).start
        if self._next in spread_places(len(samples), SHOWN):
            picture = display_rgb(self.data.read_picture(samples[self._next].image), self.data.channels)
            self.views[self._next] = panels(picture, truth, prediction, self.data.label_map)
        self._next += 1

    def merge(self, other: Examples) -> None:
        """Add the pictures of another process."""
        self.views |= other.views

    def to_dict(self, names: list[str]) -> dict[str, Any]:  # noqa: ARG002
        """Empty: there are no figures."""
        return {}

    def named(self) -> dict[str, dict[str, UInt8]]:
        """The views by stem, in the order of the split."""
        samples = self.data.split("val")
        return {samples[place].stem: views for place, views in sorted(self.views.items())}


def examples_of(evaluation: Evaluation | None) -> dict[str, dict[str, UInt8]]:
    """The views of an evaluation's examples, by stem."""
    found = evaluation.measures.get(Examples.__name__) if evaluation else None
    return found.named() if isinstance(found, Examples) else {}
