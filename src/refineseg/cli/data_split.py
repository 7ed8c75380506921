"""refineseg data split."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from refineseg.cli.common import console, progress_of
from refineseg.errors import InputError
from refineseg.system.text import counted


def split(
    data: Annotated[str, Argument(metavar="DATA", help="Data set: folder:ROOT, or ROOT.")],
    val: Annotated[float, Option(help="Share of the pictures for validation.")] = 0.15,
    test: Annotated[float, Option(help="Share of the pictures for testing.")] = 0.0,
    group: Annotated[
        str | None,
        Option(
            help="Regular expression on names; pictures with the same match (of its first group) stay together. "
            "Default: guessed from names."
        ),
    ] = None,
    seed: Annotated[int, Option(help="Random seed.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace existing lists.")] = False,
) -> None:
    """Write train.txt and val.txt, stratified by class, with groups kept together.

    Example: [bold]refineseg data split folder:mydata --val 0.15 --group '^(drive[0-9]+)_'[/bold]
    """
    from refineseg.data.splits.assign import split_data

    if val <= 0:
        raise InputError(f"expected --val above 0, got {val}")
    shares = {"val": val} | ({"test": test} if test else {})
    data = data if ":" in data else f"folder:{data}"
    with progress_of("reading masks", "masks") as progress:
        report = split_data(data, shares, group=group, seed=seed, overwrite=overwrite, progress=progress)
    counts = ", ".join(f"{count:,} {name}" for name, count in report.pictures.items())
    how = "guessed from names" if group is None else "by --group"
    console.print(f"{counts}; {counted(report.groups, 'group')}, {how}")
    for name, shown in report.classes.items():
        missing = [part for part in report.pictures if not shown[part]]
        if missing:
            console.print(f"note: no picture of {' or '.join(missing)} shows {name}")
    console.print(f"wrote {', '.join(str(path) for path in report.lists)}")
