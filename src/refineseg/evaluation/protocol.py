"""The protocol of a score, which is printed with every score and stored with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from refineseg.channels import Pixels
from refineseg.config.settings import Config
from refineseg.data.registry import benchmark_names, find_benchmark
from refineseg.errors import InputError
from refineseg.evaluation.metrics import MeanOver
from refineseg.inference.options import PredictOptions, Tile
from refineseg.inference.predictor import Segmenter
from refineseg.inference.result import Result

MEAN_IN_WORDS = {
    "truth": "mean over the classes in the ground truth",
    "union": "mean over the classes in truth or prediction",
    "zero": "mean over all classes, one in neither truth nor prediction counts 0",
    "all": "mean over all classes, none if one is in neither truth nor prediction",
}
RULES_IN_WORDS = "labels at their own size, void left out, one confusion matrix over the split"


@dataclass(frozen=True)
class Protocol(Config):
    """Settings of an evaluation."""

    name: str = "single"  # name of the protocol
    scales: tuple[float, ...] = (1.0,)  # scales of the picture; scores are averaged over them
    # whether to average over the mirrored picture too, with left and right classes swapped
    flip: bool = False
    # range in pixels to which the short edge is resized first (bilinearly), or None; predictions always have the
    # picture's size
    short_edge: tuple[int, int] | None = None
    mean_over: MeanOver = "truth"  # classes of the mean IoU: ``truth``, ``union``, ``zero`` or ``all``
    # average of the views; ``log`` is the authors' rule: softmax at stride 4, log, floor -20, resize to the
    # picture's size (bilinear, theirs is bicubic), exp, mean over the views
    fusion: Literal["log"] = "log"
    labels: Literal["own"] = "own"  # size of the labels: never resized
    ignore: Literal["void"] = "void"  # pixels that do not count: void in the ground truth
    sums: Literal["dataset"] = "dataset"  # intersections and unions are summed over it and divided once
    categories: dict[str, list[str]] = field(default_factory=dict)  # class names by category, for their IoU
    tile: str = "whole"  # ``whole``, ``auto`` (windows if memory is short) or the side of windows in pixels

    def __post_init__(self) -> None:
        PredictOptions(self.scales, self.flip)  # validates the scales
        if self.short_edge is not None and not 1 <= self.short_edge[0] <= self.short_edge[1]:
            raise InputError(f"expected short_edge as smallest and largest pixels, got {list(self.short_edge)}")
        if self.tile not in ("whole", "auto") and not self.tile.isdecimal():
            raise InputError(f"expected tile whole, auto or a number of pixels such as 1024, got {self.tile!r}")

    def describe(self) -> str:
        """The protocol in one line."""
        several = f"scales {', '.join(f'{scale:g}' for scale in self.scales)} fused in log space"
        edge = f"short edge resized to {self.short_edge[0]}..{self.short_edge[1]} px, " if self.short_edge else ""
        windows = {"whole": "", "auto": "in windows where memory needs it, "}.get(
            self.tile, f"in windows of {self.tile} px, "
        )
        return (
            f"{self.name}: {edge}{windows}{'single scale' if self.scales == (1.0,) else several}, "
            f"{'with' if self.flip else 'no'} flip, {RULES_IN_WORDS}, {MEAN_IN_WORDS[self.mean_over]}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with ``describe()`` as ``text``."""
        return super().to_dict() | {"text": self.describe()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``. ConfigError for unknown names and wrong types."""
        return super().from_dict({key: value for key, value in values.items() if key != "text"})

    def scales_for(self, height: int, width: int) -> tuple[float, ...]:
        """The scales for a picture of this size, combined with the resize of ``short_edge``."""
        if self.short_edge is None:
            return self.scales
        short = min(height, width)
        factor = min(max(short, self.short_edge[0]), self.short_edge[1]) / short
        return tuple(scale * factor for scale in self.scales)

    def predict(self, segmenter: Segmenter, image: Pixels, *, probabilities: bool = False) -> Result:
        """The prediction of a picture, HxWxC, with the views and windows of the protocol."""
        scales = self.scales_for(*image.shape[:2])
        tile: Tile = "auto" if self.tile == "auto" else None if self.tile == "whole" else int(self.tile)
        return segmenter.predict(image, scales=scales, flip=self.flip, probabilities=probabilities, tile=tile)

    def differences(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """Settings other than the name that differ: (mine, the other's)."""
        mine, theirs = self.to_dict(), other.to_dict()
        names = [item.name for item in fields(self) if item.name != "name"]
        return {name: (mine[name], theirs[name]) for name in names if mine[name] != theirs[name]}


PAPER_SCALES = (0.4, 0.6, 0.8, 1.0, 1.2)
PAPER_EDGE = (450, 800)  # the authors' range of input sizes in testing

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("single"),
        Protocol("paper", scales=PAPER_SCALES, short_edge=PAPER_EDGE),
        Protocol("paper-single", scales=(0.8,), short_edge=PAPER_EDGE),
        Protocol("ms-flip", scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True),
    )
}


def find_protocol(name: str | Protocol) -> Protocol:
    """A protocol by its name or that of a benchmark. InputError for unknown names."""
    if isinstance(name, Protocol):
        return name
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name in benchmark_names():  # scored as by the benchmark's script, predicted as in ``single``
        return Protocol(name, **find_benchmark(name).scoring)
    raise InputError(f"unknown protocol {name!r}: known are {', '.join([*PROTOCOLS, *benchmark_names()])}")
