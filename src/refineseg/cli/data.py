"""refineseg data: archives, annotation formats, pre-labels, suggestions."""

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
    help="Prepare benchmarks, split, import and export data, and suggest pictures to label.",
    no_args_is_help=True,
)

COMMANDS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "split": split,
    "import": import_,
    "export": export,
    "suggest": suggest,
}

for _name, _command in COMMANDS.items():
    data.command(_name)(_command)
