"""Whether an export fits in memory, before it begins."""

from __future__ import annotations

from refineseg.errors import InputError
from refineseg.system.memory import free_addresses, free_memory

MIB = 1 << 20
LEAST = 384 * MIB  # the libraries that write, read and run a file took 425 to 756 MiB with a network of 6 MB


def check_memory() -> None:
    """InputError if there is not even memory for the libraries.

    Python ends in odd ways, or not at all, where memory runs out while it imports thousands of modules.
    """
    free = min((found for found in (free_memory(), free_addresses()) if found is not None), default=LEAST)
    if free < LEAST:
        raise InputError(
            f"not enough memory for an export: at least {LEAST // MIB} MiB are needed, {free // MIB} are free: "
            "close other programs, or raise the limit (ulimit -v)"
        )
