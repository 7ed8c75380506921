"""How many threads torch has on a CPU, and how they wait for each other."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from refineseg.system.control_groups import cpu_limit

SPINS = "3000"  # as fast as spinning without end on an idle machine; docs/notebook/experiments.md


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let waiting threads sleep soon instead of spinning, unless the user has set how they wait.

    By default GNU's OpenMP, which torch's Linux wheels bring along, spins for milliseconds at the end of every
    parallel region. On a busy machine the spinning takes the processor from the very thread that
    is waited for: a picture then takes ten times as long (docs/notebook/experiments.md).
    The variable is read when torch is first imported, so this has to come before.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = SPINS


def limit_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Start no more threads than a container has processors, unless the user has set their number.

    Torch counts the machine's cores. More threads than a control group's share of them use it up early in each
    period, and are then stopped for the rest of it, wherever they are. As ``wait_briefly``, before torch.
    """
    limit = cpu_limit()
    if limit is not None and limit < (os.cpu_count() or 1):
        environment.setdefault("OMP_NUM_THREADS", str(limit))
