"""How torch's threads wait for each other on a CPU."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

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
