"""Shared by the commands: console, progress bars, JSON files."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table as RichTable
from rich.text import Text

from refineseg.system.files import atomic_write
from refineseg.system.text import escaped


class TextConsole(Console):
    """Prints strings literally: file and class names may contain markup or escape sequences."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich's console does, but each text on one line, to be copied. Pass a ``Text`` for colours."""
        options.setdefault("soft_wrap", not any(isinstance(item, RichTable) for item in objects))
        super().print(*(escaped(item) if isinstance(item, str) else item for item in objects), **options)


class Table(RichTable):
    """A table whose cells are shown literally, and whole where they do not fit on a line."""

    def add_column(self, *header: Any, **options: Any) -> None:
        """Add a column as rich's table does, which would cut long words off."""
        super().add_column(*header, **{"overflow": "fold"} | options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row as rich's table does; line breaks within a cell are kept."""
        super().add_row(*("\n".join(map(escaped, cell.split("\n"))) for cell in cells), **options)


class NoteColumn(TextColumn):
    """A text of a progress bar, shown literally."""

    def render(self, task: Task) -> Text:
        """The text of a task."""
        return Text(escaped(self.text_format.format(task=task)))


console = TextConsole(markup=False, emoji=False, highlight=False)
errors = TextConsole(stderr=True, markup=False, emoji=False, highlight=False)


class RateColumn(ProgressColumn):
    """Items per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Current rate; a dash until it is known."""
        speed = task.speed or task.finished_speed
        return Text(f"{speed:.1f} {self.unit}/s" if speed else f"- {self.unit}/s", style="cyan")


@contextmanager
def progress_bar(unit: str | None = "pictures", shown: bool = True, remaining: bool = True) -> Iterator[Progress]:
    """A progress bar on standard error with count, rate (unless ``unit`` is None) and ``remaining`` time.

    Only on a terminal: elsewhere nothing is drawn, and the thread that redraws it would only take memory.
    """
    columns: list[ProgressColumn] = [
        NoteColumn("{task.description}"),
        BarColumn(bar_width=28 if unit else 8),
        MofNCompleteColumn(),
        *([TimeRemainingColumn()] if remaining else []),
        NoteColumn("{task.fields[note]}"),
    ]
    if unit:
        columns.insert(3, RateColumn(unit))
    with Progress(*columns, console=errors, disable=not (shown and errors.is_terminal)) as bar:
        yield bar


@contextmanager
def progress_of(
    description: str, unit: str = "pictures", shown: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of one task, as a function of the items done and their number."""
    with progress_bar(unit, shown) as bar:
        task = bar.add_task(description, total=None, note="")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def write_json(path: Path | None, content: Any) -> None:
    """Write the content to the file of ``--json``; None writes nothing."""
    if path is not None:
        atomic_write(path, json.dumps(content, indent=1) + "\n")


def show_notes(notes: Iterable[str]) -> None:
    """Print notes on standard error."""
    for note in notes:
        errors.print(f"note: {note}")


def quiet_libraries() -> None:
    """Hide warnings of other packages; -v shows them."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
