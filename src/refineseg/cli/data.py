"""refineseg data: official archives, others' annotation formats, pre-labels, what to label next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from refineseg.cli.data_formats import export, import_
from refineseg.cli.data_prepare import prepare
from refineseg.cli.data_split import split
from refineseg.cli.data_suggest import suggest

data = typer.Typer(
    name="data",
    help="Bring data in and predictions out: prepare a benchmark's archives, import and export other formats.",
    no_args_is_help=True,
)

# One command of `refineseg data` a line.
COMMANDS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "split": split,
    "import": import_,
    "export": export,
    "suggest": suggest,
}

for _name, _command in COMMANDS.items():
    data.command(_name)(_command)
