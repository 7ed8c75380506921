"""refineseg check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from refineseg.cli.common import console, errors, progress_of, write_json
from refineseg.errors import InputError
from refineseg.system.text import counted, escaped

if TYPE_CHECKING:
    from refineseg.data.check import Finding

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}
FILES = 3  # files printed per finding; JSON and page have more


def check(
    data: Annotated[
        str | None, Argument(metavar="DATA", help="NAME:ROOT such as folder:DIR, or a YAML file.")
    ] = None,
    data_option: Annotated[str | None, Option("--data", "-d", help="The same as DATA.")] = None,
    json_file: Annotated[Path | None, Option("--json", help="Write the report to a JSON file.")] = None,
    html_file: Annotated[
        Path | None, Option("--html", help="Write an HTML page with class balance, sizes and samples.")
    ] = None,
    quick: Annotated[bool, Option("--quick", help="Check only a sample of the pairs, in seconds.")] = False,
) -> None:
    """Check a data set before training. Exit code 2 if it has errors.

    Example: [bold]refineseg check folder:data/mine --html check.html[/bold]
    """
    if (data is None) == (data_option is None):
        raise InputError("expected one data set: refineseg check folder:DIR")
    chosen = data or data_option or ""
    from refineseg.data.check import check_data
    from refineseg.data.check.check_page import write_page

    with progress_of("checking", "pairs") as progress:
        report = check_data(chosen, quick=quick, progress=progress)
    write_json(json_file, report.to_dict())
    if html_file is not None:
        write_page(report, html_file)
    for finding in report.findings:
        show(finding)
    pictures = ", ".join(f"{count} {split}" for split, count in report.pictures.items()) or "no pictures"
    sampled = f" ({counted(report.checked, 'pair')} of them opened)" if report.quick and report.checked else ""
    outcome = f"{chosen}: {pictures}{sampled}; {report.summary}"
    if report.errors:
        errors.print(f"error: {outcome}; fix the errors before training")
        raise typer.Exit(2)
    console.print(outcome)


def show(finding: Finding) -> None:
    """Print a finding: message, fix, first files."""
    from rich.text import Text

    severity, message = (finding.severity, f"{COLORS[finding.severity]} bold"), escaped(finding.message)
    console.print(Text.assemble(severity, f" {message} ", (f"({finding.kind})", "dim")))
    console.print(Text.assemble(("  fix:", "green"), f" {escaped(finding.fix)}"))
    files = [f"  {name}" for name in finding.files[:FILES]]
    if finding.count > FILES and finding.files:
        files.append(f"  and {finding.count - FILES} more")
    for line in files:
        console.print(line, style="dim")
