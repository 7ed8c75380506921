"""Memory that a network needs, found by running it on fake tensors, which have a shape but no memory.

Fake tensors run through the real code, and every storage that it creates is counted as long as it is referenced.
So there is no formula to keep in step with the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from refineseg.model.memory_saving import FIRST_STRIP_ONLY
from refineseg.model.refinenet import RefineNet

SAMPLE = 256  # side of the picture on which bytes per pixel are measured
SPARE = 1.5  # allows for convolutions' workspaces and the allocator's rounding


@dataclass(frozen=True)
class MemoryNeed:
    """Memory in bytes."""

    resting: int  # weights and other tensors that exist before and after
    working: int  # peak of all other tensors alive at once

    @property
    def peak(self) -> int:
        """The sum of both."""
        return self.resting + self.working


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all referenced storages that operations have created, except of ``resting`` tensors."""

    def __init__(self, resting: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0  # largest number of bytes at once
        self._resting = {value.untyped_storage()._cdata for value in resting}
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self._most = 0  # bytes of all storages in the list, including freed ones

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keeps torch from importing its compiler, which would take seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        if self._most > self.peak:
            self._forget()
            self.peak = max(self.peak, self._most)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._resting:
            return
        self._most += storage.nbytes() - self._storages.pop(key, (None, 0))[1]
        self._storages[key] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]

    def _forget(self) -> None:
        gone = [key for key, (item, _) in self._storages.items() if item.expired()]  # type: ignore[no-untyped-call]
        for key in gone:
            self._most -= self._storages.pop(key)[1]


def fake_copy(model: RefineNet, mode: FakeTensorMode) -> RefineNet:
    """A copy of the network with fake weights in the same memory formats."""
    fake: dict[int, Any] = {}
    for value in [*model.parameters(), *model.buffers()]:
        weightless = mode.from_tensor(value.detach())
        fake[id(value)] = (
            nn.Parameter(weightless, value.requires_grad) if isinstance(value, nn.Parameter) else weightless
        )
    return copy.deepcopy(model, fake)


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Weights and buffers of a module."""
    return [*module.parameters(), *module.buffers()]


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, counting each storage once."""
    return sum({value.untyped_storage()._cdata: value.untyped_storage().nbytes() for value in tensors}.values())


def memory_need(prepare: Callable[[FakeTensorMode], tuple[list[Tensor], Callable[[], object]]]) -> MemoryNeed:
    """Memory that a piece of work needs; ``prepare`` returns the fake tensors that exist anyway, and the work."""
    token = FIRST_STRIP_ONLY.set(True)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            resting, work = prepare(mode)
            with PeakMemory(resting) as alive:
                work()
            return MemoryNeed(bytes_of(resting), alive.peak)
    finally:
        FIRST_STRIP_ONLY.reset(token)


@torch.no_grad()
def bytes_per_pixel(model: RefineNet, channels: int, device: torch.device) -> float:
    """Peak bytes per pixel of tensors alive at once while the network runs, times ``SPARE``, without weights."""
    x = torch.zeros(1, channels, SAMPLE, SAMPLE, device=device)
    with PeakMemory(tensors_of(model)) as alive:
        model(x.contiguous(memory_format=torch.channels_last), upsample=False)
    return float(alive.peak / SAMPLE**2 * SPARE)
