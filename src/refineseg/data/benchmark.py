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
from refineseg.data.preparation.archives import Place
from refineseg.labels import LabelMap

Step = Callable[[int, int, str], None]  # files done, number of files, file name
Convert = Callable[[Path, Sequence[Path], Step], int]  # root, .mat files given, progress; number of new pairs


@dataclass(frozen=True)
class SubmissionFormat:
    """Format of a benchmark server's archive.

    Attributes:
        folder: folder in the archive, with ``{split}``; empty for the root.
        stem: pattern of file stems; its group ``id`` identifies the picture.
        values: pixel values of the classes.
        pictures: official number of pictures by split.
        size: width and height of every mask; None for that of its picture.
        palette: whether masks are palette PNGs with VOC's colours.
        hint: usual cause of other values.
    """

    folder: str
    stem: str
    values: tuple[int, ...]
    pictures: Mapping[str, int]
    size: tuple[int, int] | None = None
    palette: bool = False
    hint: str = ""

    def prefix(self, split: str) -> str:
        """Folder of a split."""
        return self.folder.format(split=split)

    def picture(self, stem: str) -> str | None:
        """Picture id in the stem of a file or picture; None if it does not match."""
        match = re.fullmatch(self.stem, stem)
        return match["id"] if match else None


@dataclass(frozen=True)
class Benchmark:
    """A public data set.

    Attributes:
        name: NAME in ``NAME:ROOT``.
        open: opens the folder ROOT.
        label_map: names, colours, mask values and submission values.
        pairs: published number of pairs by split; several if releases differ.
        licence: terms of the data.
        archives: official files, for messages.
        place: path under ROOT of a member of an archive.
        convert: makes pairs from .mat files after unpacking, if needed.
        aliases: alternative names.
        submission: format of its server's archive; None without a server.
        scoring: settings of its protocol (``evaluation.protocol.Protocol``) that differ from the defaults.
    """

    name: str
    open: Callable[[Path], SegmentationData]
    label_map: Callable[[], LabelMap]
    pairs: Mapping[str, tuple[int, ...]]
    licence: str
    archives: str
    place: Place
    convert: Convert | None = None
    aliases: tuple[str, ...] = ()
    submission: SubmissionFormat | None = None
    scoring: Mapping[str, Any] = field(default_factory=dict)
