"""Verification of an exported file: it is kept only if its output matches that of the network."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from timeit import timeit
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from refineseg.deploy.pictures import ExportPictures, fitted
from refineseg.deploy.trace import Exportable
from refineseg.errors import RefusedError
from refineseg.inference.array_ops import TINY
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import ExportedRunner
from refineseg.system.text import reason_of

AGREEMENT = 0.9999  # least share of equal labels at full size, over all sizes
ERROR = 0.01  # largest mean absolute error of the logits at any size, in standard deviations
MIOU_LOSS = 0.5  # largest loss of int8, in points of mean IoU
# Height, width, batch. Few sides are multiples of 4; one picture has multiples of 32.
SIZES = (
    (1, 1, 1), (2, 67, 2), (17, 5, 1), (33, 47, 3), (35, 129, 1), (61, 61, 2), (65, 97, 1), (75, 101, 1),
    (96, 160, 2), (99, 33, 1), (101, 203, 1), (127, 129, 1), (131, 197, 1), (161, 97, 1), (179, 241, 1),
    (191, 255, 1), (225, 313, 1), (257, 301, 1), (333, 251, 1), (359, 479, 1),
)  # fmt: skip
TIMED = (360, 480)  # height and width at which engine and network are timed
REPEATS = 3
FLAT = 0.01  # least standard deviation, as a share of the largest value (depth of one pixel has none)


@dataclass(frozen=True)
class SizeComparison:
    """The comparison of file and network at one size."""

    height: int
    width: int
    batch: int  # number of pictures
    agreement: float  # share of the pixels with the same label
    # mean absolute difference of the outputs in standard deviations, 0 if both are constant; None for labels
    error: float | None

    @property
    def pixels(self) -> int:
        """Number of compared pixels."""
        return self.height * self.width * self.batch


def compare_outputs(
    engine: ExportedRunner, network: Exportable, pictures: ExportPictures, progress: Callable[[int, int], None]
) -> list[SizeComparison]:
    """Compare file and network on pictures of all ``SIZES``; RefusedError if the file cannot run one."""
    checks = []
    for done, (height, width, batch) in enumerate(SIZES):
        chosen = [pictures.planes[(done + i) % len(pictures.planes)] for i in range(batch)]
        images = np.stack([fitted(planes, height, width) for planes in chosen])
        taken = engine.as_input(images)
        expected = run_network(network, taken)
        try:
            found = torch.from_numpy(engine.run(taken))
        except Exception as error:  # each engine has errors of its own
            where = f"{engine.name} fails at {width}x{height}"
            raise RefusedError(f"export refused: {where}: {reason_of(error, 200)}") from error
        if found.shape != expected.shape:
            shapes = f"{tuple(expected.shape)}, got {tuple(found.shape)}"
            raise RefusedError(f"export refused: expected {network.outputs} of {shapes} at {width}x{height}")
        difference: float | None = None
        if network.outputs == "labels":
            agreeing = (found == expected).float().mean().item()
        else:
            size = (height, width)
            agreeing = (_labels(found, size) == _labels(expected, size)).float().mean().item()
            spread = max(float(expected.std(correction=0)), FLAT * float(expected.abs().max()), 1e-12)
            difference = float((found - expected).abs().mean()) / spread
        checks.append(SizeComparison(height, width, batch, agreeing, difference))
        progress(done + 1, len(SIZES))
    return checks


class LogitsRunner(ExportedRunner):
    """Makes logits from any file's output, so that the predictor can score it.

    Labels become one-hot maps, probabilities their logarithms, at the picture's size.
    """

    name = "logits"

    def __init__(self, engine: ExportedRunner) -> None:
        super().__init__(engine.exported)
        self.engine = engine

    def run(self, images: NDArray[Any]) -> NDArray[Any]:
        """See ``ExportedRunner``."""
        found = self.engine.run(images)
        if self.file_outputs == "probabilities":
            return np.asarray(np.log(np.maximum(found, TINY)), np.float32)
        if self.file_outputs == "labels":
            classes = np.arange(self.exported.card.labels.num_classes)
            return np.asarray(found[:, None] == classes[:, None, None], np.float32)
        return found


def agreement(checks: list[SizeComparison]) -> float:
    """Share of all pixels with the same label."""
    return sum(check.agreement * check.pixels for check in checks) / sum(check.pixels for check in checks)


def refusal(checks: list[SizeComparison], outputs: str = "logits") -> str | None:
    """The reason to refuse a float export, or None."""
    share = agreement(checks)
    if share < AGREEMENT:
        return f"expected {AGREEMENT:.2%} of the labels to agree with the network's, got {share:.4%}"
    for check in checks:
        if check.error is not None and not check.error <= ERROR:
            return (
                f"expected {outputs} to differ from the network's by at most {ERROR:.0%} of their "
                f"standard deviation, got {check.error:.2%} at {check.width}x{check.height}"
            )
    return None


@torch.inference_mode()
def time_engine(engine: ExportedRunner, segmenter: Segmenter, pictures: ExportPictures) -> tuple[float, float]:
    """Median milliseconds from picture to labels with the engine and with torch, alternating, at ``TIMED``."""
    planes = fitted(pictures.planes[0], *TIMED)[None]
    images, options = planes.transpose(0, 2, 3, 1), PredictOptions()
    predictor = Segmenter(engine, segmenter.card)

    def by_engine() -> object:
        logits = engine.file_outputs == "logits"
        return predictor.segment(images, options) if logits else engine.run(engine.as_input(planes))

    works = (by_engine, lambda: segmenter.segment(images, options))
    rounds = [[timeit(work, number=1) for work in works] for _ in range(REPEATS + 1)]
    by_work = zip(*rounds[1:], strict=True)  # the first round is a warm-up
    engine_ms, torch_ms = (1000 * statistics.median(seconds) for seconds in by_work)
    return engine_ms, torch_ms


@torch.inference_mode()
def run_network(network: Exportable, images: NDArray[Any]) -> Tensor:
    """The network's output for a file's input."""
    output: Tensor = network(torch.from_numpy(images))
    return output


def _labels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size, mode="bilinear", align_corners=False).argmax(1)
