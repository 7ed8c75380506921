"""Raw values of masks: numbers, or RGB colours as one 24-bit number a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refineseg.colors import Color
from refineseg.errors import LabelError

Raw = int | Color


def raw_values(given: Any) -> tuple[Raw, ...]:
    """One value or a list of them, as YAML and JSON give them: numbers, and lists of three for colours."""
    values = [given] if isinstance(given, int) else given
    return tuple(value if isinstance(value, int) else color_of(value) for value in values)


def color_of(value: Sequence[int]) -> Color:
    """Three numbers as RGB."""
    red, green, blue = (int(part) for part in value)
    return red, green, blue


def raw_number(value: Raw) -> int:
    """A raw value as one number; colours as R << 16 | G << 8 | B."""
    return value if isinstance(value, int) else value[0] << 16 | value[1] << 8 | value[2]


def number_to_color(number: Any) -> tuple[Any, Any, Any]:
    """The inverse of ``raw_number`` for a colour, or an array of them."""
    return number >> 16, number >> 8 & 255, number & 255


def number_text(number: int, rgb: bool) -> str:
    """A raw number for people: ``(R, G, B)`` where masks are colours."""
    return str(number_to_color(number) if rgb else number)


def pack_colors(mask: NDArray[Any]) -> NDArray[np.int32]:
    """HxWx3 colours to HxW numbers."""
    wide = mask.astype(np.int32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2])


def mask_numbers(mask: NDArray[Any], rgb: bool, source: str) -> NDArray[Any]:
    """A mask as numbers HxW; LabelError unless they are whole numbers, or colours where ``rgb``."""
    if mask.dtype.kind not in "uib":
        raise LabelError(f"{source}: expected a mask of whole numbers, got {mask.dtype}")
    if rgb:
        if mask.ndim != 3 or mask.shape[-1] != 3 or mask.dtype != np.uint8:
            got = f"shape {mask.shape}, {mask.dtype}"
            raise LabelError(f"{source}: expected an RGB mask (this label map is by colour), got {got}")
        return pack_colors(mask)
    if mask.ndim != 2:
        raise LabelError(
            f"{source}: expected a mask of one channel with class numbers, got shape {mask.shape}; "
            "for colour masks give the colours as 'raw: [[R, G, B]]' in the label map"
        )
    return mask.astype(np.uint8) if mask.dtype == np.bool_ else mask
