"""Label Studio's brush masks: the rle-pack format (thi.ng/rle-pack) of the RGBA bytes of the drawn layer.

A bit stream, high bit first: number of values (32 bits), value width - 1 (5 bits), four length widths - 1 (4 bits
each). Then runs: whether one value is repeated (1 bit), which length width is used (2 bits), length - 1, and one
value, or as many values as the length.
"""

from __future__ import annotations

import numpy as np

from refineseg.data.formats.format import Shape
from refineseg.data.formats.parsing.shapes import Region
from refineseg.errors import InputError

VALUE_BITS = 8
COVERED = 128  # smallest alpha of a painted pixel


class _Bits:
    """Unsigned integers from a bit stream."""

    def __init__(self, data: bytes, place: str) -> None:
        self.data, self.place, self.position = data, place, 0

    def read(self, count: int) -> int:
        """The next ``count`` bits. InputError at the end of the stream."""
        end = self.position + count
        if end > 8 * len(self.data):
            raise InputError(
                f"{self.place}: expected more bytes of brush RLE, it is cut off after {len(self.data)}"
            )
        chunk = int.from_bytes(self.data[self.position // 8 : (end + 7) // 8], "big")
        self.position = end
        return chunk >> (-end % 8) & ((1 << count) - 1)


def decode_brush(data: bytes, shape: Shape, place: str) -> Region:
    """The ``rle`` bytes of a brush as HxW of the drawn layer, true where it painted.

    InputError if they are truncated, or of another size than ``shape``.
    """
    bits = _Bits(data, place)
    total = bits.read(32)
    width = bits.read(5) + 1
    if total != 4 * shape[0] * shape[1] or width != VALUE_BITS:
        raise InputError(
            f"{place}: expected brush RLE of {4 * shape[0] * shape[1]} values of {VALUE_BITS} bits "
            f"(RGBA at {shape[1]}x{shape[0]}), got {total} of {width} bits"
        )
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(total, np.uint8)
    start = 0
    while start < total:
        repeated = bits.read(1)
        end = start + 1 + bits.read(sizes[bits.read(2)])
        if end > total:
            raise InputError(f"{place}: expected {total} values of brush RLE, a run ends at {end}")
        count = 1 if repeated else end - start
        packed = bits.read(VALUE_BITS * count).to_bytes(count, "big")
        values[start:end] = np.frombuffer(packed, np.uint8)
        start = end
    return np.asarray(values.reshape(*shape, 4)[..., 3] >= COVERED)
