"""A named data set as one record: everything that the project knows of it.

Each file in ``benchmarks/`` holds one, called ``BENCHMARK``. Other distributions add theirs by an entry point:

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

Step = Callable[[int, int, str], None]  # files done, files in all, file name
Convert = Callable[[Path, Sequence[Path], Step], int]  # root, .mat files given, progress; number of new pairs


@dataclass(frozen=True)
class SubmissionFormat:
    """What a benchmark's server takes.

    Attributes:
        folder: folder in the archive, by split (``{split}``); empty for the archive's root.
        stem: pattern of a file's stem; its group ``id`` names the picture.
        values: pixel values that are classes.
        pictures: number of pictures of the official splits.
        size: width and height that every mask has; None for the picture's own.
        palette: whether masks are palette pictures with VOC's colours.
        hint: what odd values usually mean.
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
        """Picture that a file's (or picture's) stem names; None if it names none."""
        match = re.fullmatch(self.stem, stem)
        return match["id"] if match else None


@dataclass(frozen=True)
class Benchmark:
    """A public data set.

    Attributes:
        name: NAME in ``NAME:ROOT``.
        open: opens the folder ROOT.
        label_map: makes the label map: names, colours, mask values and the values that the server takes.
        pairs: published number of pairs by split; several numbers where releases differ.
        licence: terms of the data.
        archives: official files, in words, for messages.
        place: which member of an archive goes where under ROOT.
        convert: makes pairs of .mat files after unpacking, where that is needed.
        aliases: other names that it answers to.
        submission: what its server takes; None where there is none.
        scoring: settings of its own protocol (``evaluation.protocol.Protocol``) that differ from the usual ones.
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
