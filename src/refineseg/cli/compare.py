"""refineseg compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument

from refineseg.cli.common import console, write_json
from refineseg.cli.options import JsonFile


def compare(
    first: Annotated[Path, Argument(metavar="A.json", help="JSON file written by evaluate --json.")],
    second: Annotated[Path, Argument(metavar="B.json", help="JSON file written by evaluate --json.")],
    json_file: JsonFile = None,
) -> None:
    """Explain why two scores differ: protocol, classes, pictures.

    Example: [bold]refineseg compare before.json after.json[/bold]
    """
    from refineseg.evaluation.compare import compare as compare_scores
    from refineseg.evaluation.compare import read_scored

    comparison = compare_scores(read_scored(first), read_scored(second))
    for line in comparison.lines():
        console.print(line)
    write_json(json_file, comparison.to_dict())
