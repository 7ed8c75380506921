"""Options and report of an import, and the splits that it assigns: by shares, with groups kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from refineseg.data.splits.assign import assign_splits
from refineseg.data.splits.groups import groups_by_pattern, guess_groups
from refineseg.errors import InputError

FOLDER = "folder"


@dataclass(frozen=True)
class SplitOptions:
    """Options for assigning splits."""

    shares: Mapping[str, float]  # shares of val and test, each above 0, together below 1; the rest is train
    seed: int = 0  # random seed for ties
    # ``folder``, or a regular expression for the part of a name that a group shares; guessed from names if None
    group: str | None = None


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


def parse_shares(text: str) -> dict[str, float]:
    """``0.8/0.1/0.1`` (train, val, test) to the shares of val and test; InputError otherwise."""
    try:
        train, *rest = (float(part) for part in text.split("/"))
    except ValueError:
        train, rest = 0.0, []
    if not 1 <= len(rest) <= 2 or min(train, *rest) <= 0 or abs(train + sum(rest) - 1) > 1e-6:
        raise InputError(f"expected shares of train, val and perhaps test such as 0.8/0.1/0.1, got {text!r}")
    return dict(zip(("val", "test"), rest, strict=False))


def split_pictures(names: Sequence[str], present: Sequence[Sequence[int]], options: SplitOptions) -> list[str]:
    """The split of every picture, from its path in the source without suffix and the train ids that it shows.

    InputError for fewer groups than splits, or a pattern that a name does not match.
    """
    if options.group == FOLDER:
        groups = [str(PurePosixPath(name).parent) for name in names]
    elif options.group is not None:
        groups = groups_by_pattern(names, options.group)
    else:
        groups = guess_groups(names)
    return assign_splits(groups, present, options.shares, options.seed)
