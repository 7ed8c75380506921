"""Float32 matrix products by MKL or oneDNN, whichever is faster on this processor.

torch uses MKL, which leaves half of the vector width of AMD processors unused; oneDNN does not. Its product is an
operation that torch uses for compiled graphs and not part of torch's public interface, so it is tried once; MKL is
kept where the operation is missing, wrong or not clearly faster.
"""

from __future__ import annotations

from functools import cache
from timeit import repeat

import torch
from torch import Tensor

from refineseg.model.memory_saving import FIRST_STRIP_ONLY

SIDE, TRIALS = 256, 5
WORTH = 1.2  # least speed-up: below it noise would decide, and rounding would differ between runs


def batched_matmul(rows: Tensor, weights: Tensor, out: Tensor) -> None:
    """Products of rows MxNxC and weights MxKxC into ``out`` MxNxK. oneDNN needs each weight matrix contiguous."""
    if by_onednn():
        for mine, weight, target in zip(rows.unbind(), weights.unbind(), out.unbind(), strict=True):
            target.copy_(_onednn(mine, weight))  # its result reuses the same memory, which stays in the cache
    else:
        torch.bmm(rows, weights.transpose(1, 2), out=out)


def by_onednn() -> bool:
    """Whether oneDNN multiplies. Never while memory is planned: its operation takes no fake tensors."""
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
        works = (lambda: _onednn(rows, weight), lambda: rows @ weight.t())
        ours, theirs = (min(repeat(work, number=1, repeat=TRIALS)) for work in works)
        return same and theirs > WORTH * ours


def _onednn(rows: Tensor, weight: Tensor) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, None, "none", [], "")
    return found
