"""Products of float32 matrices by whichever of torch's two libraries is faster on this processor.

torch multiplies float32 matrices with MKL, which leaves half of an AMD processor's vectors unused; oneDNN, which
does the convolutions, does not. Its product is an operation that torch uses for compiled graphs, not part of
torch's public interface, so it is tried once, and MKL stays where it is missing, wrong or no faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from refineseg.model.memory_saving import FIRST_STRIP_ONLY

SIDE, TRIALS = 256, 5
WORTH = 1.2  # times as fast; below it noise would decide, and rounding differ from run to run


def products(rows: Tensor, weights: Tensor, out: Tensor) -> None:
    """MxNxC times MxKxC into MxNxK. With ``by_onednn`` each of the weights is contiguous."""
    if by_onednn():
        for mine, weight, target in zip(rows.unbind(), weights.unbind(), out.unbind(), strict=True):
            target.copy_(_onednn(mine, weight))  # the memory in between is the same every time, and stays in cache
    else:
        torch.bmm(rows, weights.transpose(1, 2), out=out)


def by_onednn() -> bool:
    """Whether float32 products are oneDNN's. Not while memory is planned: its tensors are without memory."""
    return not FIRST_STRIP_ONLY.get() and _wins()


@cache
def _wins() -> bool:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        rows, weight = (torch.randn(SIDE, SIDE, generator=generator) for _ in range(2))
        try:
            same = torch.allclose(_onednn(rows, weight), rows @ weight.t(), atol=1e-3)
        except (AttributeError, TypeError, RuntimeError):
            return False
        ours, theirs = (_least(work) for work in (lambda: _onednn(rows, weight), lambda: rows @ weight.t()))
        return same and theirs > WORTH * ours


def _least(work: Callable[[], Tensor]) -> float:
    """Seconds of the fastest of a few calls."""
    seconds = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _onednn(rows: Tensor, weight: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
    return found
