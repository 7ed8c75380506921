"""Uncertainty: the entropy of each pixel's probabilities as grey PNG; 255 if all classes are equally likely."""

from __future__ import annotations

from refineseg.inference.array_ops import uncertainty
from refineseg.inference.outputs.confidence import Confidence


class Uncertainty(Confidence):
    """See the module."""

    name, folder = "uncertainty", "uncertainty"
    shown = staticmethod(uncertainty)


KIND = Uncertainty()
