"""The processes of a torchrun launch: rank and number, and exchange of values.

With a single process, the usual case, every function returns what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


def launched_world() -> tuple[int, int]:
    """Rank and number of processes by torchrun's environment; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Whether this is the process that prints and writes."""
    return launched_world()[0] == 0


def joined_world() -> tuple[int, int]:
    """Rank and number of processes in the process group; (0, 1) without one."""
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


@contextmanager
def process_group(device: str = "auto") -> Iterator[None]:
    """Join the processes of a launch in a group for the block; nothing happens with a single one."""
    if launched_world()[1] == 1:
        yield
        return
    import torch
    from torch import distributed

    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def own_share(count: int) -> range:
    """This process's block of ``count`` items; the blocks follow one another, the first ones are the longest."""
    rank, world = joined_world()
    share, rest = divmod(count, world)
    first = rank * share + min(rank, rest)
    return range(first, first + share + (rank < rest))


def mean(value: Tensor) -> Tensor:
    """The mean of a tensor over the processes, for each of them; without gradient."""
    world = joined_world()[1]
    if world == 1:
        return value.detach()
    from torch import distributed

    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / world


def gather(value: T) -> list[T]:
    """The values of all processes, in their order, for each of them."""
    world = joined_world()[1]
    if world == 1:
        return [value]
    from torch import distributed

    values: list[T | None] = [None] * world
    distributed.all_gather_object(values, value)
    return [item for item in values if item is not None]
