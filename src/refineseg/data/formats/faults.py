"""Faults of a source, collected so that one run lists all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from refineseg.errors import InputError, WriteError

T = TypeVar("T")
SHOWN = 4  # faults named in the error
LONGEST = 260  # characters of each


class Faults:
    """Errors of single annotations, pictures and files, after which reading goes on."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self.without_pixels = Counter[str]()  # areas by class name; no faults, as small objects may have no pixel

    def __len__(self) -> int:
        return len(self._found)

    @property
    def found(self) -> list[str]:
        """The errors, each text once."""
        return list(self._found)

    def add(self, fault: str | InputError) -> None:
        """Add a fault."""
        self._found[" ".join(str(fault).split())] = None

    def stop_if_nothing_is_left(self, left: Sequence[object], source: Path) -> None:
        """FaultsError if everything has a fault."""
        if self._found and not left:
            raise FaultsError(str(source), self.found)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Turn an InputError of the block into a fault; WriteError and missing packages are raised."""
        try:
            yield
        except WriteError:
            raise
        except InputError as error:
            self.add(error)


def not_empty(found: Sequence[T], expected: str, source: Path) -> Sequence[T]:
    """What was found at a source; InputError if it is nothing."""
    if not found:
        raise InputError(f"expected {expected} at {source}, found none")
    return found


class FaultsError(InputError):
    """A source with faults."""

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)  # all of them, each with file and place
        hint = "correct the source, or import the rest with --skip-bad"
        if len(faults) == 1:
            super().__init__(f"{faults[0]}; {hint}")
            return
        shown = "; ".join(fault if len(fault) <= LONGEST else fault[:LONGEST] + "..." for fault in faults[:SHOWN])
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        super().__init__(f"{len(faults)} faults in {source}: {shown}{more}; {hint}")
