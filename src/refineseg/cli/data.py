"""refineseg data: archives, annotation formats, pre-labels, suggestions."""

from __future__ import annotations

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

data.command()(prepare)
data.command()(split)
data.command("import")(import_)
data.command()(export)
data.command()(suggest)
