"""Options and report of an import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from refineseg.data.formats.transfer.import_splits import SplitOptions
from refineseg.errors import InputError


@dataclass(frozen=True)
class ImportOptions:
    """Options for writing the data set."""

    link: bool = False  # hard links to the pictures instead of copies, if possible
    skip_bad: bool = False  # import what has no fault, and list the rest in left_out.txt
    unannotated: str = "skip"  # pictures without annotation: ``skip`` or ``background``
    split: SplitOptions | None = None  # splits to assign; the source's own if None
    max_side: int | None = None  # longest side in pixels; larger pictures are scaled down with their masks

    def __post_init__(self) -> None:
        if self.unannotated not in ("skip", "background"):
            raise InputError(
                f"expected pictures without annotation to be skip or background, got {self.unannotated!r}"
            )
        if self.max_side is not None and self.max_side < 1:
            raise InputError(f"expected a longest side of at least 1 pixel, got {self.max_side}")


@dataclass(frozen=True)
class ImportReport:
    """Result of an import."""

    root: Path  # folder of the new data set
    format: str  # name of the format
    pictures: int  # number of pairs
    splits: Mapping[str, int]  # number of pairs by split; empty without splits
    class_names: tuple[str, ...]  # class names by train id
    notes: tuple[str, ...]  # what was left out or assumed
    warnings: tuple[str, ...] = ()  # notes that probably need action
    faults: tuple[str, ...] = ()  # faults skipped with ``skip_bad``
