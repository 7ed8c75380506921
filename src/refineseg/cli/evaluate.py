"""refineseg evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refineseg.cli.common import console, parse_scales, progress_bar

if TYPE_CHECKING:
    from refineseg.evaluation.protocol import Evaluation


def evaluate(
    model: Annotated[str, typer.Option("--model", "-m", help="Bundled name or model folder.")],
    data: Annotated[
        str, typer.Option("--data", "-d", help="NAME:ROOT such as camvid:DIR or folder:DIR, or a YAML file.")
    ],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "val",
    scales: Annotated[str, typer.Option(help="Scales to average over, such as 0.4,0.6,0.8,1.0,1.2.")] = "1.0",
    flip: Annotated[bool, typer.Option("--flip", help="Average over the mirrored picture too.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(help="32 or bf16.")] = "32",
) -> None:
    """Score a model on a data set.

    Example: [bold]refineseg evaluate --model camvid --data camvid:data/camvid --split val --json score.json[/bold]
    """
    from refineseg.data import open_data
    from refineseg.evaluation.protocol import evaluate as evaluate_model
    from refineseg.files import atomic_write
    from refineseg.inference.predictor import load

    opened = open_data(data)
    segmenter = load(model, device, precision)
    with progress_bar() as bar:
        task = bar.add_task("evaluating", total=None, note="")
        evaluation = evaluate_model(
            segmenter,
            opened,
            split,
            scales=parse_scales(scales),
            flip=flip,
            progress=lambda done, of: bar.update(task, completed=done, total=of),
        )
    show(evaluation)
    if json_file is not None:
        atomic_write(json_file, json.dumps(evaluation.to_dict() | {"model": model}, indent=1) + "\n")
        console.print(f"all figures in {json_file}", markup=False)


def show(evaluation: Evaluation) -> None:
    """Print the score card."""
    from rich.table import Table

    scores = evaluation.scores
    table = Table(
        title=f"{evaluation.data} {evaluation.split}, {evaluation.pictures} pictures", title_justify="left"
    )
    table.add_column("class")
    table.add_column("IoU", justify="right")
    table.add_column("accuracy", justify="right")
    for name, iou, accuracy in zip(evaluation.class_names, scores.iou, scores.accuracy, strict=True):
        table.add_row(name, _figure(iou), _figure(accuracy))
    table.add_section()
    table.add_row("mean", _figure(scores.mean_iou), _figure(scores.mean_class_accuracy), style="bold")
    console.print(table)
    console.print(f"mean IoU {scores.mean_iou:.4f}   pixel accuracy {scores.pixel_accuracy:.4f}", style="bold")
    console.print(f"protocol: {evaluation.protocol.describe()}", markup=False)
    per_picture = 1000 * evaluation.seconds / evaluation.pictures
    console.print(
        f"{evaluation.seconds:.1f} s, {per_picture:.0f} ms per picture with reading and scoring", markup=False
    )


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
