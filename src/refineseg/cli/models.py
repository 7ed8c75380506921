"""refineseg models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refineseg.cli.common import console

if TYPE_CHECKING:
    from refineseg.model.records import Score

CLASSES = 21  # of the networks whose parameters are counted, as in the papers


def models(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write everything to this file.")] = None,
) -> None:
    """List presets with their sizes, and every known weight with licence and score.

    Example: [bold]refineseg models --json models.json[/bold]
    """
    from rich.table import Table

    from refineseg.model.records import all_records
    from refineseg.system.files import atomic_write

    presets = preset_sizes()
    table = Table("preset", "backbone", "parameters", title=f"Presets ({CLASSES} classes)")
    for entry in presets:
        table.add_row(entry["preset"], entry["backbone"], f"{entry['parameters']:,}")
    console.print(table)

    records = all_records()
    table = Table(title="Weights, mean IoU with its 95 % interval (protocols, sources and hashes: --json)")
    table.add_column("weights", no_wrap=True)
    for title in ("mean IoU", "licence", "state"):
        table.add_column(title)
    for record in records:
        score = _in_words(record.score)
        # The gist stands before the colon or semicolon; the whole is in the JSON.
        table.add_row(record.name, score, record.licence.split(";")[0], record.state.split(":")[0])
    console.print(table)
    if json_file is not None:
        content = {"presets": presets, "weights": [record.to_dict() for record in records]}
        atomic_write(json_file, json.dumps(content, indent=1) + "\n")


def _in_words(score: Score | None) -> str:
    """``73.7 % val (73.1 to 74.2)``."""
    if score is None:
        return "-"
    interval = f" ({100 * score.interval[0]:.1f} to {100 * score.interval[1]:.1f})" if score.interval else ""
    return f"{100 * score.mean_iou:.1f} % {score.split}{interval}"


def preset_sizes() -> list[dict[str, Any]]:
    """Name, backbone and number of parameters of every preset."""
    from refineseg.model.presets import PRESETS, model_config, parameter_count

    configs = [model_config(preset, CLASSES) for preset in PRESETS]
    return [
        {"preset": config.preset, "backbone": config.backbone, "parameters": parameter_count(config)}
        for config in configs
    ]
