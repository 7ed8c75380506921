"""The record of a public data set.

Each file in ``benchmarks/`` has one, called ``BENCHMARK``. Other packages register theirs as entry points:

    [project.entry-points."refineseg.benchmarks"]
    kitti = "their_package.kitti:BENCHMARK"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refineseg.data.dataset import SegmentationData
from refineseg.data.preparation.archives import FileProgress, Place
from refineseg.labels import LabelMap

Convert = Callable[
    [Path, Sequence[Path], FileProgress], int
]  # root, .mat files given, progress; number of new samples


@dataclass(frozen=True)
class SubmissionFormat:
    """Format of a benchmark server's archive."""

    folder: str  # folder in the archive, with ``{split}``; empty for the root
    stem: str  # pattern of file stems; its group ``id`` identifies the picture
    values: tuple[int, ...]  # pixel values of the classes
    pictures: Mapping[str, int]  # official number of pictures by split
    size: tuple[int, int] | None = None  # width and height of every mask; None for that of its picture
    palette: bool = False  # whether masks are palette PNGs with VOC's colours
    hint: str = ""  # usual cause of other values

    def picture(self, stem: str) -> str | None:
        """Picture id in the stem of a file or picture; None if it does not match."""
        match = re.fullmatch(self.stem, stem)
        return match["id"] if match else None


@dataclass(frozen=True)
class Benchmark:
    """A public data set."""

    name: str  # NAME in ``NAME:ROOT``
    open: Callable[[Path], SegmentationData]  # opens the folder ROOT
    label_map: Callable[[], LabelMap]  # names, colours, mask values and submission values
    pairs: Mapping[str, tuple[int, ...]]  # published number of samples by split; several if releases differ
    licence: str  # terms of the data
    archives: str  # official files, for messages
    place: Place  # path under ROOT of a member of an archive
    convert: Convert | None = None  # makes samples from .mat files after unpacking, if needed
    aliases: tuple[str, ...] = ()  # alternative names
    submission: SubmissionFormat | None = None  # format of its server's archive; None without a server
    # settings of its protocol (``evaluation.protocol.Protocol``) that differ from the defaults
    scoring: Mapping[str, Any] = field(default_factory=dict)
