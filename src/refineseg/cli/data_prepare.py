"""refineseg data prepare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from refineseg.cli.common import console, progress_bar
from refineseg.errors import InputError
from refineseg.system.text import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from refineseg.data.preparation.prepare import SampleCount


def prepare(
    name: Annotated[
        str, Argument(metavar="NAME", help="Benchmark: voc2012, cityscapes, nyudv2, sunrgbd, pascal-context ...")
    ],
    archives: Annotated[list[Path], Argument(metavar="ARCHIVE", help="The official archives, as downloaded.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder for the data set: ROOT of NAME:ROOT.")],
) -> None:
    """Unpack a benchmark's official archives into its layout and verify the counts.

    Run it again to continue where it stopped: existing files are kept.

    Example: [bold]refineseg data prepare cityscapes leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip
    -o data/cityscapes[/bold]
    """
    from refineseg.data.preparation.prepare import prepare as prepare_benchmark

    with progress_bar("%") as bar:
        prepared = prepare_benchmark(name, archives, output, ArchiveProgress(bar))
    taken = prepared.taken
    line = f"{counted(taken.written, 'file')} written, {taken.present} already there"
    console.print(line + (f", {counted(prepared.converted, 'pair')} converted" if prepared.converted else ""))
    for count in prepared.counts:
        told = "as published" if count.right else f"published: {published(count)}"
        console.print(f"{count.split}: {counted(count.found, 'pair')} ({told})")
    wrong = [count for count in prepared.counts if not count.right]
    if wrong:
        raise InputError(
            f"expected the published numbers of pairs in {name}:{output}, "
            + "; ".join(f"{count.split} has {count.found}, not {published(count)}" for count in wrong)
            + ": give the missing archives too"
        )
    console.print(f"ready: --data {name}:{output}")


def published(count: SampleCount) -> str:
    """The published numbers as text."""
    return " or ".join(f"{number:,}" for number in count.published)


class ArchiveProgress:
    """A progress bar, in percent, per archive and for the conversion."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task: Any = None
        self.total = -1

    def __call__(self, done: int, total: int, what: str) -> None:
        """Update the bar; a new total starts a new one."""
        if self.task is None or total != self.total:
            self.task, self.total = self.bar.add_task("preparing", total=100, note=""), total
        self.bar.update(self.task, completed=100 * done // max(total, 1), note=what)
