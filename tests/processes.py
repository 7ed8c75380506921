"""Runs a function in several processes as torchrun does, but forked from a server that has all imports already."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.kill_resume import SERVER


def run_together(function: Callable[..., object], world: int, *arguments: Any, seconds: float = 120) -> list[int]:
    """Call ``function(*arguments)`` in ``world`` processes that can meet. Returns their exit codes.

    Once one has failed the others are killed, as torchrun does.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members = [
        SERVER.Process(target=_member, args=(function, rank, world, port, arguments)) for rank in range(world)
    ]
    for member in members:
        member.start()
    end = time.monotonic() + seconds
    while any(member.is_alive() for member in members) and time.monotonic() < end:
        if any(member.exitcode for member in members):
            break
        time.sleep(0.02)
    for member in members:
        member.kill()
        member.join()
    return [member.exitcode or 0 for member in members]


def _member(function: Callable[..., object], rank: int, world: int, port: int, arguments: tuple[Any, ...]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)
    function(*arguments)
