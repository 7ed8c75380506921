"""What is wrong with a source: collected, so that one run lists every fault with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from refineseg.errors import InputError, WriteError

SHOWN = 4  # faults in the one line of the error
LONGEST = 260  # characters of each there


class Faults:
    """Collects the errors of single annotations, pictures and files, and lets reading go on.

    Attributes:
        found: the errors.
        without_pixels: areas that cover no pixel by class name; no error, since small objects have none.
    """

    def __init__(self) -> None:
        self.found: list[str] = []
        self.without_pixels = Counter[str]()

    def __len__(self) -> int:
        return len(self.found)

    def add(self, fault: str | InputError) -> None:
        """Keep a fault; the same text is kept once."""
        text = " ".join(str(fault).split())
        if text not in self.found:
            self.found.append(text)

    def stop_if_nothing_is_left(self, left: Sequence[object], source: Path) -> None:
        """FaultsError where everything has a fault, before anything else is found to be missing."""
        if self.found and not left:
            raise FaultsError(str(source), self.found)

    @contextmanager
    def collect(self) -> Iterator[None]:
        """An InputError in the block is kept and ends the block; WriteError and missing packages are raised."""
        try:
            yield
        except WriteError:
            raise
        except InputError as error:
            self.add(error)


class FaultsError(InputError):
    """A source with faults.

    Attributes:
        faults: all of them, each with file and place.
    """

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        hint = "correct the source, or import the rest with --skip-bad"
        if len(faults) == 1:
            super().__init__(f"{faults[0]}; {hint}")
            return
        shown = "; ".join(fault if len(fault) <= LONGEST else fault[:LONGEST] + "..." for fault in faults[:SHOWN])
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        super().__init__(f"{len(faults)} faults in {source}: {shown}{more}; {hint}")
