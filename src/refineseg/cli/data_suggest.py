"""refineseg data suggest."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from rich.progress import TaskID
from typer import Argument, Option

from refineseg.cli.common import console, progress_bar, show_notes
from refineseg.cli.options import Device
from refineseg.system.text import counted


def suggest(
    pictures: Annotated[
        list[str], Argument(metavar="PICTURE", help="Pictures without labels: files, folders or globs.")
    ],
    model: Annotated[str, Option("--model", "-m", help="Trained model: RUN, model folder or bundled name.")],
    output: Annotated[Path, Option("--output", "-o", help="New folder for pictures, pre-labels and HTML page.")],
    number: Annotated[int, Option("--number", "-n", help="Number of pictures to suggest.")] = 40,
    format: Annotated[
        str, Option("--format", help="Format of the pre-labels: labelme, cvat, coco or yolo.")
    ] = "labelme",
    labelled: Annotated[
        str | None, Option(help="Already labelled data, NAME:ROOT. Default: the data of the model's run.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Suggest pictures to label next, with pre-labels.

    Example: [bold]refineseg data suggest photos --model runs/mine --number 40 -o todo[/bold]
    """
    from refineseg import load
    from refineseg.inference.batch import find_inputs
    from refineseg.training.suggest.suggest import labelled_pictures
    from refineseg.training.suggest.suggest import suggest as make_suggestions

    inputs = find_inputs(pictures)
    segmenter = load(model, device)
    known, line = labelled_pictures(model, labelled)
    show_notes([line])
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, note="")
            bar.update(tasks[what], completed=done)

        report = make_suggestions(
            segmenter, inputs, output, number=number, format=format, labelled=known, progress=show
        )
    show_notes(report.notes)
    console.print(
        f"{len(report.suggestions)} of {counted(report.pictures, 'picture')} in {output / 'images'}, pre-labels "
        f"in {output / 'prelabels'}, reasons in {output / 'index.html'}",
    )
    console.print(
        f"next: correct them, then refineseg data import {shlex.quote(str(output / 'prelabels'))} -o NEW"
    )
