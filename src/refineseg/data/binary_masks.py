"""Masks of two classes as grey values: scans, JPEG files, soft masks of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from refineseg.data.mask_file import opened_mask
from refineseg.errors import InputError
from refineseg.labels import UInt8


def check_threshold(value: Any, place: str = "") -> int:
    """The threshold of a binary mask; InputError unless it is a whole number of 1 to 255."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 255:
        raise InputError(f"{place}expected a threshold in 1..255, got {value!r}")
    return value


def read_binary_mask(path: Path, threshold: int) -> UInt8:
    """A mask of any mode as HxW zeros and ones: 1 where its grey value (0..255) is ``threshold`` or more.

    Values of 16 bits count by their high byte. InputError for files that cannot be read.
    """
    with opened_mask(path) as image:
        if image.mode.startswith("I;16"):
            grey = np.asarray(image).astype(np.uint16) >> 8
        elif image.mode == "P":  # palette pictures count by their colours
            grey = np.asarray(image.convert("RGB").convert("L"))
        else:
            grey = np.asarray(image.convert("L"))
    return np.asarray(grey >= threshold, np.uint8)
