"""Splits assigned on import: by shares, stratified by class, with groups kept together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

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
    """The split of every picture.

    Args:
        names: paths in the source without suffix.
        present: train ids that each picture shows.
        options: shares, seed, grouping.

    Raises:
        InputError: fewer groups than splits, or a pattern that a name does not match.
    """
    if options.group == FOLDER:
        groups = [str(PurePosixPath(name).parent) for name in names]
    elif options.group is not None:
        groups = groups_by_pattern(names, options.group)
    else:
        groups = guess_groups(names)
    return assign_splits(groups, present, options.shares, options.seed)
