"""The depth that a set of pictures uses: sensors of 10, 12 or 14 bits write their values into 16-bit files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from refineseg.data.pictures.colors import used_bits
from refineseg.data.pictures.opening import largest_value, stored_bits
from refineseg.errors import RefinesegError


@dataclass(frozen=True)
class Depth:
    """The depth of a set of 16-bit pictures.

    Attributes:
        used: bits that hold the largest value of all pictures: 10, 12, 14 or 16.
        largest: that value.
        pictures: number of 16-bit pictures.
        others: number of pictures of another depth, which are not looked at.
    """

    used: int
    largest: int
    pictures: int
    others: int = 0

    @property
    def white(self) -> int:
        """The value that means white."""
        return (1 << self.used) - 1


def used_depth(files: Iterable[Path]) -> Depth | None:
    """The depth that a set of pictures uses; None where none has 16 bits.

    Pixels of 16-bit pictures are decoded, of others only the header is read. Pictures that cannot be read are left
    out: whoever reads them says so.
    """
    largest, deep, others = 0.0, 0, 0
    for path in files:
        try:
            if stored_bits(path) != 16:
                others += 1
                continue
            largest = max(largest, largest_value(path))
        except RefinesegError:
            continue
        deep += 1
    return Depth(used_bits(largest), int(largest), deep, others) if deep else None
