"""Uncertainty: the entropy of each pixel's probabilities as grey PNG; 255 if all classes are equally likely."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from refineseg.inference.arithmetic import uncertainty
from refineseg.inference.outputs.confidence import Confidence
from refineseg.labels import UInt8


class Uncertainty(Confidence):
    """See the module."""

    name, folder = "uncertainty", "uncertainty"

    def shown(self, probabilities: NDArray[Any]) -> UInt8:
        """Entropy as a share of the largest possible."""
        return uncertainty(probabilities)


KIND = Uncertainty()
