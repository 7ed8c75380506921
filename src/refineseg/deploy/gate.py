"""The gate: an exported file is kept only if its labels match those of the network it was made from."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from refineseg.deploy.pictures import Pictures, fitted
from refineseg.errors import RefusedError
from refineseg.inference.options import PredictOptions
from refineseg.inference.predictor import Segmenter
from refineseg.inference.runners.exported import ExportedRunner
from refineseg.model.refinenet import RefineNet

AGREEMENT = 0.9999  # of the labels at full size, over all sizes together
ERROR = 0.01  # mean absolute error of the logits by their standard deviation, at each size
MIOU_LOSS = 0.5  # points that int8 may lose
# Height, width and pictures at once. Hardly a side divides by 4; one does by 32.
SIZES = (
    (1, 1, 1), (2, 67, 2), (17, 5, 1), (33, 47, 3), (35, 129, 1), (61, 61, 2), (65, 97, 1), (75, 101, 1),
    (96, 160, 2), (99, 33, 1), (101, 203, 1), (127, 129, 1), (131, 197, 1), (161, 97, 1), (179, 241, 1),
    (191, 255, 1), (225, 313, 1), (257, 301, 1), (333, 251, 1), (359, 479, 1),
)  # fmt: skip
TIMED = (360, 480)  # height and width at which engine and network are timed
REPEATS = 3


@dataclass(frozen=True)
class Check:
    """File against network at one size.

    Attributes:
        height, width, batch: of the pictures.
        agreement: share of the pixels with the same label.
        error: mean absolute difference of the logits by their standard deviation; 0 where both are constant.
    """

    height: int
    width: int
    batch: int
    agreement: float
    error: float

    @property
    def pixels(self) -> int:
        """How many were compared."""
        return self.height * self.width * self.batch


def compare(
    engine: ExportedRunner, model: RefineNet, pictures: Pictures, progress: Callable[[int, int], None]
) -> list[Check]:
    """The file and the network on pictures of all ``SIZES``. RefusedError where the file cannot take one."""
    checks = []
    for done, (height, width, batch) in enumerate(SIZES):
        chosen = [pictures.planes[(done + i) % len(pictures.planes)] for i in range(batch)]
        images = np.stack([fitted(planes, height, width) for planes in chosen])
        expected = run(model, images)
        try:
            found = torch.from_numpy(engine(images))
        except Exception as error:  # each engine has its own
            reason = " ".join(str(error).split())[:200]
            raise RefusedError(f"export refused: {engine.name} fails at {width}x{height}: {reason}") from error
        if found.shape != expected.shape:
            shapes = f"{tuple(expected.shape)}, got {tuple(found.shape)}"
            raise RefusedError(f"export refused: expected logits of {shapes} at {width}x{height}")
        same = (_labels(found, (height, width)) == _labels(expected, (height, width))).float().mean().item()
        spread = max(float(expected.std(correction=0)), 1e-12)
        checks.append(Check(height, width, batch, same, float((found - expected).abs().mean()) / spread))
        progress(done + 1, len(SIZES))
    return checks


def agreement(checks: list[Check]) -> float:
    """Share of all pixels with the same label."""
    return sum(check.agreement * check.pixels for check in checks) / sum(check.pixels for check in checks)


def drift(checks: list[Check]) -> str | None:
    """Why a float export is refused, or None."""
    share = agreement(checks)
    worst = max(checks, key=lambda check: check.error if np.isfinite(check.error) else np.inf)
    if share < AGREEMENT:
        return f"expected {AGREEMENT:.2%} of the labels to agree with the network's, got {share:.4%}"
    if not worst.error <= ERROR:
        return (
            f"expected logits within {ERROR:.0%} of their spread of the network's, got {worst.error:.2%} at "
            f"{worst.width}x{worst.height}"
        )
    return None


@torch.inference_mode()
def times(engine: ExportedRunner, segmenter: Segmenter, pictures: Pictures) -> tuple[float, float]:
    """Median milliseconds from picture to labels with the engine and with torch, in turns, at ``TIMED``."""
    images = fitted(pictures.planes[0], *TIMED).transpose(1, 2, 0)[None]
    contestants = (Segmenter(engine, segmenter.card), segmenter)
    taken: tuple[list[float], list[float]] = ([], [])
    for repeat in range(REPEATS + 1):
        for contestant, seconds in zip(contestants, taken, strict=True):
            start = time.perf_counter()
            contestant.segment(images, PredictOptions())
            if repeat:  # the first one prepares
                seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken[0]), 1000 * statistics.median(taken[1])


@torch.inference_mode()
def run(model: RefineNet, images: NDArray[np.float32]) -> Tensor:
    """Logits at stride 4 as the predictor makes them, on the CPU."""
    x = torch.from_numpy(images).to(model.mean.device).contiguous(memory_format=torch.channels_last)
    logits: Tensor = model(x, upsample=False)
    return logits.cpu()


def _labels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(logits, size, mode="bilinear", align_corners=False).argmax(1)
